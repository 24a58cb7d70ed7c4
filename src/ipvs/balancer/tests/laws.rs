//! The laws: whatever happened before, a reload leaves what a start would have made, told by its difference or whole, and
//! what is desired follows from what is known.

use proptest::prelude::*;

use super::*;

fn any_server() -> impl Strategy<Value = VirtualServerConfig> {
    let reals = prop::collection::btree_map(0..5_u8, (0..4_u32, any::<bool>(), any::<bool>(), 0..3_u16), 0..5);
    (reals, 1..6_u32, 0..3_u32, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(reals, quorum, hysteresis, with_sorry, follows, inhibits)| {
            let mut server = virtual_server(&[]);
            server.real_servers = reals
                .into_iter()
                .map(|(n, (weight, inhibit_on_failure, with_alpha, checkers))| {
                    let checkers = (0..checkers).map(|port| checker(80 + port)).collect();
                    let mut real = RealServerConfig { weight, inhibit_on_failure, checkers, ..real_server(n) };
                    if with_alpha {
                        alpha(&mut real);
                    }
                    real
                })
                .collect();
            (server.quorum, server.hysteresis) = (quorum, hysteresis);
            server.sorry_server = sorry().filter(|_| with_sorry).map(|s| SorryServer { inhibit: inhibits, ..s });
            server.active_with = follows.then(|| "VI".to_owned());
            server
        },
    )
}

/// Virtual servers 0 to 2 are addresses, 3 is a group that may have the same ones.
fn any_id(n: u8) -> VirtualServerId {
    match n {
        3 => VirtualServerId::Group { name: "g".to_owned(), protocol: Protocol::Tcp },
        n => VirtualServerId::Address {
            address: SocketKey::new([192, 0, 2, 100 + n].into(), 80),
            protocol: Protocol::Tcp,
        },
    }
}

fn any_config() -> impl Strategy<Value = BalancerConfig> {
    let servers = prop::collection::btree_map(0..4_u8, any_server(), 0..4);
    let group = prop::option::of((98..104_u8, 0..3_u8));
    (servers, group, any::<bool>()).prop_map(|(servers, group, rs_init_notifies)| {
        let groups = group.map(|(first, more)| {
            let [first, last] = [first, first + more].map(|n| [192, 0, 2, n].into());
            ("g".to_owned(), GroupConfig { entries: vec![GroupEntry::Range { first, last, port: 80 }] })
        });
        BalancerConfig {
            global: BalancerGlobal { rs_init_notifies, ..BalancerGlobal::default() },
            groups: groups.into_iter().collect(),
            services: servers.into_iter().map(|(n, s)| (any_id(n), s.into())).collect(),
            ..BalancerConfig::default()
        }
    })
}

/// Everything that is known of health: what a start on the same configuration would have to be told.
fn retell(from: &Balancer, now: Instant, to: &mut Bench) {
    for (id, server) in &from.virtual_servers {
        for (address, real) in &server.real_servers {
            for (index, (_, health)) in (0..).zip(real.findings()) {
                let checker = CheckerId { virtual_server: id.clone(), real_server: *address, index };
                to.balancer.handle_input(now, Input::Check(CheckReport { checker, health: health.clone() }));
            }
            let admin = Input::Admin { virtual_server: id.clone(), real_server: *address, state: real.admin };
            to.balancer.handle_input(now, admin);
        }
    }
    to.drain();
}

#[derive(Debug, Clone)]
enum Step {
    Input(Input),
    Reload(Box<BalancerConfig>),
}

impl Bench {
    fn take(&mut self, step: Step) {
        match step {
            Step::Input(input) => self.input(input),
            Step::Reload(config) => self.reload(*config),
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let place = (0..4_u8, 0..5_u8, 0..3_u16);
    let checked = (place, any::<bool>(), -3..4_i64).prop_map(move |((v, r, index), up, weight)| {
        let checker = CheckerId { virtual_server: any_id(v), real_server: real(r), index };
        let health = if up { Health::Up { weight } } else { Health::Down { reason: "x".to_owned() } };
        Input::Check(CheckReport { checker, health })
    });
    let admin = (0..4_u8, 0..5_u8, 0..3_u8).prop_map(move |(v, r, state)| Input::Admin {
        virtual_server: any_id(v),
        real_server: real(r),
        state: [AdminState::Up, AdminState::Drain, AdminState::Maint][usize::from(state)],
    });
    let input = prop_oneof![
        6 => checked,
        2 => admin,
        1 => any::<bool>().prop_map(|master| Input::Instance { name: "VI".to_owned(), master }),
    ];
    prop_oneof![9 => input.prop_map(Step::Input), 1 => any_config().prop_map(|config| Step::Reload(Box::new(config)))]
}

proptest! {
    /// The law of reloads. The hysteresis remembers, so that it is no part of it.
    #[test]
    fn a_reload_leaves_what_a_start_would_have_made(steps in prop::collection::vec(any_step(), 0..12), b in any_config()) {
        let mut b = b;
        b.services.values_mut().for_each(|server| server.hysteresis = 0);
        let mut bench = Bench::new(BalancerConfig::default());
        steps.into_iter().for_each(|step| bench.take(step));
        bench.reload(b.clone());
        let mut fresh = Bench::new(b);
        let master = bench.balancer.masters.contains("VI");
        fresh.input(Input::Instance { name: "VI".to_owned(), master });
        retell(&bench.balancer, bench.now, &mut fresh);
        prop_assert_eq!(bench.balancer.desired(), fresh.balancer.desired());
    }

    /// Who is told what changes and who is told everything come to the same, and have told the same.
    #[test]
    fn a_difference_is_as_good_as_the_whole(
        steps in prop::collection::vec(any_step(), 0..12),
        reloads in prop::collection::vec(any_config(), 1..4),
    ) {
        let mut by_difference = Bench::new(BalancerConfig::default());
        let mut whole = Bench::new(BalancerConfig::default());
        whole.now = by_difference.now;
        for step in steps {
            by_difference.take(step.clone());
            whole.take(step);
        }
        for config in reloads {
            by_difference.reload(config.clone());
            whole.replace(config.clone());
            let (a, b) = (&by_difference.balancer, &whole.balancer);
            prop_assert_eq!(&by_difference.told, &whole.told);
            prop_assert_eq!(a.desired(), b.desired());
            prop_assert_eq!(&a.virtual_servers, &b.virtual_servers);
            prop_assert_eq!((&a.owners, &a.groups, &a.global), (&b.owners, &b.groups, &b.global));
            prop_assert_eq!(&a.groups, &config.groups);
        }
    }

    /// What is desired is always what a look at everything anew gives, and only real servers and sorry servers are in it.
    #[test]
    fn what_is_desired_follows_from_what_is_known(steps in prop::collection::vec(any_step(), 0..30)) {
        let mut bench = Bench::new(BalancerConfig::default());
        for step in steps {
            bench.take(step);
            let balancer = &bench.balancer;
            for (id, server) in &balancer.virtual_servers {
                for key in &server.services {
                    prop_assert_eq!(balancer.owner(key), Some(id));
                    match balancer.desired().services.get(key) {
                        None => prop_assert!(!server.active),
                        Some(service) => {
                            prop_assert!(server.active);
                            prop_assert_eq!(&*service.destinations, &server.destinations(bench.now));
                        }
                    }
                }
                if !server.has_quorum && server.config.sorry_server.is_some() {
                    let serving = server.destinations(bench.now).into_iter().filter(|(_, d)| d.weight > 0);
                    prop_assert_eq!(serving.map(|(at, _)| at).collect::<Vec<_>>(), vec![real(99)]);
                }
            }
            prop_assert!(balancer.desired().services.keys().all(|key| balancer.owner(key).is_some()));
        }
    }

    /// A change is announced, and every reload; nothing else is.
    #[test]
    fn apply_comes_with_a_reload_and_when_the_table_changed(steps in prop::collection::vec(any_step(), 1..30)) {
        let mut bench = Bench::new(BalancerConfig::default());
        for step in steps {
            let before = bench.balancer.desired().clone();
            let (input, reload) = match step {
                Step::Input(input) => (input, false),
                Step::Reload(config) => {
                    let diff = BalancerDiff::between(&bench.config, &config);
                    bench.config = *config;
                    (Input::Reconfigure(Box::new(diff)), true)
                }
            };
            bench.balancer.handle_input(bench.now, input);
            let mut applies = 0;
            while let Some(effect) = bench.balancer.poll_effect() {
                applies += u32::from(effect == Effect::Apply);
            }
            prop_assert_eq!(applies, u32::from(reload || before != *bench.balancer.desired()));
        }
    }
}
