//! A data plane that refuses, forgets and is written to by others.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::ipvs::dataplane::{Refusal, ServiceCounters};
use crate::ipvs::table::{Destination, Service, ServiceSettings};
use crate::ipvs::types::{Protocol, Scheduler};

/// What the double has and does; the test holds the other end.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub table: ServiceTable,
    /// Refuses operations on these services, for good or not.
    pub refuses: BTreeMap<ServiceKey, bool>,
    /// Refuses these destinations, for good or not.
    pub refuses_destination: BTreeMap<SocketKey, bool>,
    pub unreadable: bool,
    pub applies: usize,
    pub operations: usize,
}

/// A data plane without traffic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Double(pub Rc<RefCell<State>>);

impl Dataplane for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Refusal> {
        let mut state = self.0.borrow_mut();
        state.applies += 1;
        state.operations += operations.len();
        let mut refusals = Vec::new();
        for (operation, what) in operations.iter().enumerate() {
            let key = what.service();
            let of_destination = what.destination().and_then(|at| state.refuses_destination.get(&at).copied());
            let no_service = what.destination().is_some() && !state.table.services.contains_key(&key);
            match state.refuses.get(&key).copied().or(of_destination).or(no_service.then_some(false)) {
                Some(lasting) => {
                    let error = DataplaneError { reason: "refused".to_owned(), lasting };
                    refusals.push(Refusal { operation, error });
                }
                None => carry_out(&mut state.table, what),
            }
        }
        refusals
    }

    fn dump(&mut self) -> Result<ServiceTable, DataplaneError> {
        let state = self.0.borrow();
        let error = DataplaneError { reason: "unreadable".to_owned(), lasting: false };
        if state.unreadable { Err(error) } else { Ok(state.table.clone()) }
    }

    fn counters(&mut self) -> Result<BTreeMap<ServiceKey, ServiceCounters>, DataplaneError> {
        Ok(BTreeMap::new())
    }
}

fn at(n: u8) -> SocketKey {
    SocketKey::new([192, 0, 2, n].into(), 80)
}

fn key(n: u8) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: at(n) }
}

fn table(services: &[(u8, &[u8])]) -> ServiceTable {
    let destination = Destination { weight: 1, ..Destination::default() };
    let service = |list: &[u8]| Service {
        settings: ServiceSettings::default(),
        destinations: list.iter().map(|n| (at(*n), destination)).collect(),
    };
    ServiceTable { services: services.iter().map(|(n, list)| (key(*n), service(list))).collect() }
}

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn carrier(keeps: Keeps) -> (Carrier, Rc<RefCell<State>>, Instant) {
    let double = Double::default();
    let state = Rc::clone(&double.0);
    let now = Instant::now();
    (Carrier::new(now, Box::new(double), keeps), state, now)
}

#[test]
fn what_is_desired_is_carried_out_once() {
    let (mut carrier, state, now) = carrier(Keeps::All);
    assert_eq!(carrier.sync(now, table(&[(1, &[10, 11])])), []);
    assert_eq!((state.borrow().table.clone(), state.borrow().operations), (table(&[(1, &[10, 11])]), 3));
    assert_eq!(carrier.sync(now, table(&[(1, &[10, 11])])), []);
    assert_eq!((state.borrow().applies, carrier.poll_timeout()), (1, None));
}

#[test]
fn a_large_table_goes_in_parts_and_what_is_known_of_it_is_what_is_there() {
    let numbers: Vec<u8> = (1..=20).collect();
    let services: Vec<(u8, &[u8])> = (1..=200).map(|n| (n, numbers.as_slice())).collect();
    let desired = table(&services);
    let (mut kernel, state, now) = carrier(Keeps::KernelSettings);
    state.borrow_mut().refuses.insert(key(7), true);
    state.borrow_mut().refuses_destination.insert(at(13), true);
    let remarks = kernel.sync(now, desired.clone());
    assert_eq!(remarks.len(), 1 + 199, "one of the service, and one of each other service's thirteenth");
    let operations = 200 * 21;
    assert_eq!((state.borrow().applies, state.borrow().operations), (operations / OPERATIONS_TOGETHER + 1, operations));
    assert_eq!(kernel.applied(), &state.borrow().table);
    let there = state.take().table;
    state.borrow_mut().table = there;
    kernel.forget_refusals();
    assert_eq!(kernel.sync(now, desired.clone()), []);
    assert_eq!(state.borrow().operations, 21 + 199, "only what was refused");
    assert_eq!((kernel.applied(), &state.borrow().table), (&desired, &desired));
    let (mut forwarder, state, now) = carrier(Keeps::All);
    assert_eq!(forwarder.sync(now, desired), []);
    assert_eq!((state.borrow().applies, state.borrow().operations), (1, operations), "one view");
}

#[test]
fn a_passing_refusal_is_told_once_and_tried_again_with_growing_patience() {
    let (mut carrier, state, mut now) = carrier(Keeps::All);
    state.borrow_mut().refuses.insert(key(1), false);
    let remarks = carrier.sync(now, table(&[(1, &[10]), (2, &[20])]));
    assert_eq!(remarks.len(), 1, "one for the service, none for its destinations: {remarks:?}");
    assert_eq!(remarks[0].to_string(), "cannot add service 192.0.2.1:80 tcp (wlc): refused");
    assert_eq!(state.borrow().table, table(&[(2, &[20])]), "the others are not held up");
    assert_eq!(carrier.refused_services().collect::<Vec<_>>(), [&key(1)]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let at = carrier.poll_timeout().expect("a retry");
        waits.push(at.duration_since(now).as_secs());
        now = at;
        assert_eq!(carrier.handle_timeout(now), []);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    state.borrow_mut().refuses.clear();
    now = carrier.poll_timeout().expect("a retry");
    assert_eq!(carrier.handle_timeout(now), [Remark::Mended(key(1))]);
    assert_eq!(state.borrow().table, table(&[(1, &[10]), (2, &[20])]));
    assert_eq!((carrier.poll_timeout(), carrier.refusals().count()), (None, 0));
}

#[test]
fn a_lasting_refusal_is_not_tried_again_until_something_changes() {
    let (mut carrier, state, now) = carrier(Keeps::All);
    state.borrow_mut().refuses.insert(key(1), true);
    assert_eq!(carrier.sync(now, table(&[(1, &[10])])).len(), 1);
    let tried = state.borrow().operations;
    assert_eq!(carrier.poll_timeout(), None);
    assert_eq!(carrier.sync(now, table(&[(1, &[10, 11])])), [], "the service is refused, whoever serves");
    assert_eq!(state.borrow().operations, tried);
    assert_eq!(carrier.refused_services().count(), 1);
    let mut other = table(&[(1, &[10])]);
    other.services.values_mut().for_each(|service| service.settings.scheduler = Scheduler::Rr);
    assert_eq!(carrier.sync(now, other.clone()).len(), 1, "other settings are another try");
    carrier.forget_refusals();
    state.borrow_mut().refuses.clear();
    assert_eq!(carrier.sync(now, other.clone()), []);
    assert_eq!(state.borrow().table, other);
}

#[test]
fn nothing_is_in_order_about_a_refused_service_that_is_given_up() {
    let (mut carrier, state, now) = carrier(Keeps::All);
    state.borrow_mut().refuses.insert(key(1), true);
    assert_eq!(carrier.sync(now, table(&[(1, &[10]), (2, &[20])])).len(), 1);
    assert_eq!(carrier.sync(now, table(&[(2, &[20])])), []);
    assert_eq!(carrier.refusals().count(), 0);
}

#[test]
fn a_lasting_refusal_of_one_destination_leaves_the_others() {
    let (mut carrier, state, now) = carrier(Keeps::All);
    state.borrow_mut().refuses_destination.insert(at(10), true);
    assert_eq!(carrier.sync(now, table(&[(1, &[10, 11])])).len(), 1);
    assert_eq!(state.borrow().table, table(&[(1, &[11])]));
    assert_eq!((carrier.refused_services().count(), carrier.refusals().count()), (0, 1));
    assert_eq!(carrier.sync(now, table(&[(1, &[11])])), [Remark::Mended(key(1))], "it is not wanted any more");
    assert_eq!(carrier.refusals().count(), 0);
}

#[test]
fn a_start_over_an_existing_table_is_a_plan_like_any_other() {
    let (mut carrier, state, now) = carrier(Keeps::KernelSettings);
    state.borrow_mut().table = table(&[(1, &[10, 19]), (2, &[20]), (9, &[90])]);
    assert_eq!(carrier.adopt(&[key(1), key(2)].into()), []);
    assert_eq!(carrier.sync(now, table(&[(1, &[10, 11])])), []);
    assert_eq!(state.borrow().table, table(&[(1, &[10, 11]), (9, &[90])]), "a service of somebody else stays");
    assert_eq!(state.borrow().operations, 3);
}

#[test]
fn what_others_removed_is_put_back_and_what_they_changed_is_theirs() {
    let (mut carrier, state, now) = carrier(Keeps::KernelSettings);
    let desired = table(&[(1, &[10, 11]), (2, &[20])]);
    assert_eq!(carrier.sync(now, desired.clone()), []);
    {
        let mut state = state.borrow_mut();
        state.table.services.remove(&key(2));
        let one = state.table.services.get_mut(&key(1)).expect("there");
        one.destinations.remove(&at(10));
        one.destinations.get_mut(&at(11)).expect("there").weight = 0;
        one.destinations.insert(at(12), Destination::default());
    }
    let now = carrier.poll_timeout().expect("a look");
    assert_eq!(carrier.handle_timeout(now), [Remark::Restored(3)]);
    {
        let state = state.borrow();
        let one = &state.table.services[&key(1)];
        assert_eq!(state.table.services[&key(2)], desired.services[&key(2)]);
        assert_eq!(one.destinations.keys().copied().collect::<Vec<_>>(), [at(10), at(11), at(12)]);
        assert_eq!(one.destinations[&at(11)].weight, 0);
    }
    let now = carrier.poll_timeout().expect("another look");
    assert_eq!(carrier.handle_timeout(now), []);
}

#[test]
fn an_unreadable_table_is_told_and_read_later() {
    let (mut carrier, state, now) = carrier(Keeps::KernelSettings);
    state.borrow_mut().unreadable = true;
    assert_eq!(carrier.adopt(&BTreeSet::new()).len(), 1);
    state.borrow_mut().refuses.insert(key(1), false);
    assert_eq!(carrier.sync(now, table(&[(1, &[])])).len(), 1);
    let now = carrier.poll_timeout().expect("a retry");
    // Once is enough.
    assert_eq!(carrier.handle_timeout(now), []);
    (state.borrow_mut().unreadable, state.borrow_mut().refuses) = (false, BTreeMap::new());
    let now = carrier.poll_timeout().expect("a retry");
    assert_eq!(carrier.handle_timeout(now), [Remark::Mended(key(1))]);
}
