//! What needs addresses and rules of its own: every port, marks, the client's own address, an address that comes later.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::process::Command;

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::Operation;
use holdfast::ipvs::types::{Protocol, ServiceKey, SocketKey};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::vrrp::types::Family;

use crate::rig::{LIMIT, proxy, settings, weight};

/// A client on one LAN, a real server on another, and the director between them. Fields are dropped in this order.
struct Net {
    plane: Option<Userspace>,
    client: Host,
    director: Host,
    server: Host,
    _lans: [Lan; 2],
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const VIP: &str = "10.9.1.100";
const SERVER: &str = "10.9.2.2";

impl Net {
    fn new() -> Self {
        let [client, director, server] = ["client", "director", "server"].map(|name| Host::new(name).unwrap());
        let mut lans = ["near", "far"].map(|name| Lan::new(name).unwrap());
        lans[0].plug(&client, "eth0", &[(ip("10.9.1.2"), 24), (ip("fd09:1::2"), 64)]).unwrap();
        lans[0].plug(&director, "eth0", &[(ip("10.9.1.1"), 24), (ip("fd09:1::1"), 64)]).unwrap();
        lans[1].plug(&director, "eth1", &[(ip("10.9.2.1"), 24), (ip("fd09:2::1"), 64)]).unwrap();
        lans[1].plug(&server, "eth0", &[(ip(SERVER), 24), (ip("fd09:2::2"), 64)]).unwrap();
        lans.iter().for_each(|lan| lan.wait_ready().unwrap());
        run(&server, "ip route add default via 10.9.2.1");
        server.run(|| {
            // As many ports as the tests ask for; each answers with its port and who asked.
            for port in [80, 1234, 4321, 7001] {
                for family in ["0.0.0.0", "::"] {
                    let listener = socket2::Socket::new(
                        socket2::Domain::for_address(SocketAddr::new(ip(family), port)),
                        socket2::Type::STREAM,
                        None,
                    );
                    let listener = listener.unwrap();
                    if family == "::" {
                        listener.set_only_v6(true).unwrap();
                    }
                    listener.bind(&SocketAddr::new(ip(family), port).into()).unwrap();
                    listener.listen(64).unwrap();
                    let listener: TcpListener = listener.into();
                    std::thread::spawn(move || {
                        for mut stream in listener.incoming().flatten() {
                            let peer = stream.peer_addr().unwrap().ip();
                            let _ = stream.write_all(format!("{port} {peer}").as_bytes());
                        }
                    });
                }
                let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 100];
                    while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                        let _ = socket.send_to(format!("{port} {}", from.ip()).as_bytes(), from);
                    }
                });
            }
        });
        let mut net = Self { plane: None, client, director, server, _lans: lans };
        net.plane = Some(net.director.run(|| Userspace::start(&Options::default()).unwrap()));
        net
    }

    /// Applies in the director's namespace.
    fn apply(&mut self, operations: &[Operation]) {
        let mut plane = self.plane.take().unwrap();
        let operations = operations.to_vec();
        let (plane, refusals) = self.director.run(move || {
            let refusals = plane.apply(&operations);
            (plane, refusals)
        });
        assert_eq!(refusals, []);
        self.plane = Some(plane);
    }

    fn add(&mut self, key: ServiceKey, to: SocketKey) {
        self.apply(&[Operation::AddService(key, settings()), Operation::AddDestination(key, to, weight(1))]);
    }

    fn ask(&self, to: &str) -> String {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(move || {
            let mut stream = match TcpStream::connect_timeout(&to, LIMIT) {
                Ok(stream) => stream,
                // The reset was faster than we.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return "reset".to_owned(),
                Err(_) => return "refused".to_owned(),
            };
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut text = String::new();
            if stream.read_to_string(&mut text).is_err() {
                return "reset".to_owned();
            }
            text
        })
    }

    fn ask_udp(&self, to: &str) -> String {
        let to: SocketAddr = to.parse().unwrap();
        self.client.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            // Connected: only answers from the very address and port are heard.
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            let mut buffer = [0; 100];
            socket.send(b"?").unwrap();
            let count = socket.recv(&mut buffer).expect("an answer from the address that was asked");
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        })
    }
}

fn run(host: &Host, line: &str) {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let shown = line.to_owned();
    host.run(move || {
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
    });
}

fn service(protocol: Protocol, address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: SocketKey::new(ip(address), port) }
}

#[test]
fn port_0_is_every_port_but_those_of_others() {
    needs_root!();
    let mut net = Net::new();
    for address in [VIP, "fd09:1::100"] {
        lan::add_address(&net.director, "eth0", ip(address), if address == VIP { 24 } else { 64 }).unwrap();
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        net.add(service(protocol, VIP, 0), SocketKey::new(ip(SERVER), 0));
    }
    net.add(service(Protocol::Tcp, "fd09:1::100", 0), SocketKey::new(ip("fd09:2::2"), 0));
    net.add(service(Protocol::Tcp, VIP, 80), SocketKey::new(ip(SERVER), 7001));
    assert_eq!(net.ask("10.9.1.100:1234"), "1234 10.9.2.1");
    assert_eq!(net.ask("10.9.1.100:4321"), "4321 10.9.2.1");
    assert_eq!(net.ask("10.9.1.100:80"), "7001 10.9.2.1", "a service of its own");
    assert_eq!(net.ask("[fd09:1::100]:4321"), "4321 fd09:2::1");
    assert_eq!(net.ask("10.9.1.100:5555"), "reset", "the real server has no such port");
    assert_eq!(net.ask("10.9.1.1:1234"), "refused", "another address");
    assert_eq!(net.ask_udp("10.9.1.100:1234"), "1234 10.9.2.1");
    assert_eq!(net.ask_udp("10.9.1.100:4321"), "4321 10.9.2.1");
    net.apply(&[Operation::RemoveService(service(Protocol::Tcp, VIP, 0))]);
    assert_eq!(net.ask("10.9.1.100:1234"), "refused");
    assert_eq!(net.ask("10.9.1.100:80"), "7001 10.9.2.1");
    let director = &net.director;
    let plane = net.plane.take().unwrap();
    director.run(move || {
        drop(plane);
        let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&tables.stdout), "");
    });
}

#[test]
fn a_mark_is_a_service() {
    needs_root!();
    let mut net = Net::new();
    lan::add_address(&net.director, "eth0", ip(VIP), 24).unwrap();
    run(&net.director, "nft add table ip marks");
    run(&net.director, "nft add chain ip marks pre { type filter hook prerouting priority -150 ; }");
    run(&net.director, "nft add rule ip marks pre ip daddr 10.9.1.100 tcp dport 7000-7100 meta mark set 5");
    run(&net.director, "nft add rule ip marks pre ip daddr 10.9.1.100 udp dport 4321 meta mark set 5");
    let mark = ServiceKey::Fwmark { family: Family::V4, mark: NonZeroU32::new(5).unwrap() };
    net.add(mark, SocketKey::new(ip(SERVER), 0));
    assert_eq!(net.ask("10.9.1.100:7001"), "7001 10.9.2.1");
    assert_eq!(net.ask("10.9.1.100:7002"), "reset");
    assert_eq!(net.ask("10.9.1.100:1234"), "refused", "no mark");
    assert_eq!(net.ask_udp("10.9.1.100:4321"), "4321 10.9.2.1");
}

#[test]
fn rules_that_the_kernel_refuses_are_a_lasting_refusal() {
    needs_root!();
    let net = Net::new();
    net.director.run(|| {
        let options = Options { table: "x".repeat(300), ..Options::default() };
        let mut plane = Userspace::start(&options).unwrap();
        let [every, one] = [0, 80].map(|port| service(Protocol::Tcp, VIP, port));
        let refusals = plane.apply(&[Operation::AddService(every, settings()), Operation::AddService(one, settings())]);
        assert_eq!(refusals.len(), 1);
        assert!(refusals[0].error.lasting);
        assert!(refusals[0].error.reason.contains("need TPROXY rules of nftables"), "{}", refusals[0].error);
        assert_eq!(plane.dump().unwrap().services.into_keys().collect::<Vec<_>>(), [one]);
    });
}

#[test]
fn real_servers_see_the_client_where_it_is_asked_for() {
    needs_root!();
    let mut net = Net::new();
    lan::add_address(&net.director, "eth0", ip(VIP), 24).unwrap();
    // The routing that this needs: the real server's answers are for us.
    for line in [
        "ip rule add fwmark 9 lookup 99",
        "ip route add local default dev lo table 99",
        "nft add table ip back",
        "nft add chain ip back pre { type filter hook prerouting priority -150 ; }",
        "nft add rule ip back pre socket transparent 1 meta mark set 9",
    ] {
        run(&net.director, line);
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let key = service(protocol, VIP, 80);
        net.apply(&[
            Operation::AddService(key, proxy(|proxy| proxy.transparent = true)),
            Operation::AddDestination(key, SocketKey::new(ip(SERVER), 1234), weight(1)),
        ]);
    }
    assert_eq!(net.ask("10.9.1.100:80"), "1234 10.9.1.2");
    assert_eq!(net.ask_udp("10.9.1.100:80"), "1234 10.9.1.2");
}

#[test]
fn the_address_may_come_and_go() {
    needs_root!();
    let mut net = Net::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        net.add(service(protocol, VIP, 80), SocketKey::new(ip(SERVER), 1234));
    }
    lan::add_address(&net.director, "eth0", ip(VIP), 24).unwrap();
    assert_eq!(net.ask("10.9.1.100:80"), "1234 10.9.2.1");
    assert_eq!(net.ask_udp("10.9.1.100:80"), "1234 10.9.2.1");
    run(&net.director, "ip address del 10.9.1.100/24 dev eth0");
    lan::add_address(&net.director, "eth0", ip(VIP), 24).unwrap();
    assert_eq!(net.ask("10.9.1.100:80"), "1234 10.9.2.1");
    assert_eq!(net.ask_udp("10.9.1.100:80"), "1234 10.9.2.1");
}

#[test]
fn datagrams_that_no_packet_holds_come_through_in_order() {
    needs_root!();
    let mut net = Net::new();
    net.server.run(|| {
        let socket = UdpSocket::bind(("0.0.0.0", 9009)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..count], from);
            }
        });
    });
    let key = service(Protocol::Udp, VIP, 9009);
    run(&net.director, "ip address add 10.9.1.100/24 dev eth0");
    net.add(key, SocketKey::new(ip(SERVER), 9009));
    net.client.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((VIP, 9009)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        // Bursts of equal length, which would go as one message if packets were large enough; the same flow, both ways.
        for (round, length) in [100, 4000, 4000, 1400, 100].into_iter().enumerate() {
            let datagram = |number: u8| [vec![u8::try_from(round).unwrap(), number], vec![number; length]].concat();
            for number in 0..16 {
                socket.send(&datagram(number)).unwrap();
            }
            for number in 0..16 {
                let count = socket.recv(&mut buffer).expect("every datagram comes back");
                assert_eq!(buffer[..count], datagram(number));
            }
        }
    });
}
