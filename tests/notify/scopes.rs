//! Whose events a webhook hears, by where it stands in the file of a running daemon.

use std::collections::BTreeSet;
use std::net::TcpListener;

use holdfast::lab::server::Server;

use crate::common::needs_root;
use crate::receiver::{Mood, Receiver};
use crate::rig::{Make, Node, PATIENCE, Rig, wait_line, wait_state, wait_until};

/// Globally all, in a block what is its own; the form without a name, which is called by its host.
#[test]
fn each_hears_of_its_own() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, "")]);
    let host = rig.node(0).host();
    let listener = host.run(|| TcpListener::bind("10.9.0.11:0").expect("a port"));
    let receiver = Receiver::on(listener, |_, _| Mood::Status(200));
    let hook =
        |name: &str, path: &str| format!("notify_webhook {name} {{\nurl http://{}/{path}\n}}\n", receiver.address);
    let instance = |n: u8, more: &str| {
        format!(
            "vrrp_instance VI_{n} {{\ninterface eth0\nvirtual_router_id {n}\nversion 3\nadvert_int 0.2\npriority 100\n\
             virtual_ipaddress {{\n10.9.0.10{n}/24\n}}\n{more}}}\n"
        )
    };
    let service = |head: &str, more: &str| {
        format!(
            "virtual_server {head} {{\ndelay_loop 1\nlb_kind PROXY\nprotocol TCP\n{more}real_server 127.0.0.7 80 {{\n\
             TCP_CHECK {{\nconnect_timeout 1\nretry 0\n}}\n}}\n}}\n"
        )
    };
    let config = [
        format!("global_defs {{\n{}{}}}\n", hook("", "unnamed"), hook("all", "all")),
        instance(1, &hook("own", "first")),
        instance(2, ""),
        "virtual_server_group web {\n10.9.0.11 8081\n10.9.0.11 8082\n}\n".to_owned(),
        service("10.9.0.11 8080", &hook("own", "address")),
        service("group web", &hook("", "group")),
        service("10.9.0.11 8083", ""),
    ]
    .concat();
    let server = Server::start(host).expect("a port");
    rig.node(0).write_file(holdfast::lab::director::CONFIG.as_ref(), &config).expect("a file");
    rig.start_all();
    let a = rig.node(0);
    wait_state(a, "VI_1", "MASTER");
    wait_state(a, "VI_2", "MASTER");
    // Its end is a change of every virtual server.
    drop(server);
    let told = |path: &str| -> BTreeSet<String> {
        let requests = receiver.received().into_iter().filter(|request| request.path == format!("/{path}"));
        let said = requests.map(|request| {
            let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
            let words = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            format!("{} {} {} {}", words("kind"), words("virtual_server"), words("name"), words("event"))
        });
        said.collect()
    };
    let down = |server: &str| {
        [format!("real_server {server} [127.0.0.7]:tcp:80 DOWN"), format!("virtual_server  {server} DOWN")]
    };
    let (address, group, other) = ("[10.9.0.11]:tcp:8080", "[web]:0", "[10.9.0.11]:tcp:8083");
    let both = ["first", "address", "group"];
    wait_until("all that happens is told", || {
        [address, group, other].iter().all(|server| told("all").is_superset(&down(server).into()))
            && both.iter().all(|path| told(path).len() >= 2)
    });
    let states = |n: u8| ["BACKUP", "MASTER"].map(|state| format!("instance  VI_{n} {state}"));
    assert_eq!(told("first"), states(1).into());
    let of = |path: &str| told(path).into_iter().filter(|line| line.ends_with("DOWN")).collect::<BTreeSet<_>>();
    assert_eq!(of("address"), down(address).into());
    assert!(told("address").iter().all(|line| line.contains(address)), "{:?}", told("address"));
    assert_eq!(of("group"), down(group).into());
    assert!(told("group").iter().all(|line| line.contains(group)), "{:?}", told("group"));
    wait_until("both hear of everything", || told("all") == told("unnamed"));
    assert!(told("all").is_superset(&states(2).into()));
    let mark = a.log_mark();
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    let a = rig.node(0);
    for title in ["webhook 10.9.0.11 counters", "webhook all counters", "webhook own of instance VI_1 counters"] {
        wait_line(a, mark, title);
    }
    wait_line(a, mark, "webhook 10.9.0.11 of virtual server");
}
