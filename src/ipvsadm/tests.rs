//! What can be seen without a kernel that has IPVS; `tests/ipvs_kernel` compares with Debian's ipvsadm on one that has.

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use super::address::{Names, host_and_port, number};
use super::command::{Command, List, Shown, parse};
use super::execute::{Surroundings, run};
use super::list::{Columns, Style};
use super::names::services_of;
use super::source::{Entry, Look, NoForwarder, Seen, Source, add_rates};
use super::{Leave, connections, json, list, save, sort};
use crate::ipvs::dataplane::Counters;
use crate::ipvs::genl::destination::method;
use crate::ipvs::genl::{Info, KernelDestination, KernelService};
use crate::ipvs::types::{Protocol, ServiceKey, SocketKey};
use crate::status::model::{ForwarderDestination, ForwarderService, Status, Traffic};
use crate::vrrp::types::Family;

/// A world with one host and one service.
struct FewNames;

impl Names for FewNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "localhost").then_some(Ipv4Addr::LOCALHOST)
    }

    fn port(&self, service: &str, _: Protocol) -> Option<u16> {
        (service == "http").then_some(80)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        (address == Ipv4Addr::LOCALHOST).then(|| "localhost".to_owned())
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        (port == 80 && protocol == Protocol::Tcp).then(|| "http".to_owned())
    }
}

fn parsed(line: &str) -> Result<Command, Leave> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    parse("ipvsadm", &words, &FewNames)
}

fn mistake(line: &str) -> (String, u8) {
    let leave = parsed(line).unwrap_err();
    (leave.text, leave.code)
}

fn at(ip: &str, port: u16) -> SocketKey {
    SocketKey::new(ip.parse().unwrap(), port)
}

fn tcp(ip: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: at(ip, port) }
}

fn mark(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::Fwmark { family, mark: NonZeroU32::new(mark).unwrap() }
}

fn entry(key: ServiceKey, destinations: &[KernelDestination]) -> Entry {
    Entry { service: KernelService::new(key, "rr"), destinations: destinations.to_vec(), configured_in: None }
}

#[test]
fn mistakes_are_named_in_ipvsadms_words() {
    let rows = [
        ("-A", "You need to supply the 'service-address' option for the 'add-service' command", 2),
        ("-A -t", "-t: missing argument", 255),
        ("-A -t 10.0.0.1", "Zero port specified for non-persistent service", 2),
        ("-A -E -t 10.0.0.1:80", "invalid option `-E'", 2),
        ("-AE", "invalid option `-AE'", 2),
        ("-X", "Try `ipvsadm -h' or 'ipvsadm --help' for more information.", 255),
        ("-A --foo", "--foo: unknown option", 255),
        ("-A -6 -f 7", "-6 used before -f\n", 2),
        ("--set 1 2", "--set option requires 3 timeout values", 2),
        ("--set -1 2 3", "-1: unknown option", 255),
        ("-L foo", "unexpected argument foo", 2),
        ("-L --stats -c", "options conflicts in the list command", 2),
        ("-L --daemon -c", "The option 'daemon' conflicts with the 'connection' option in the 'list' command", 2),
        ("-S --json", "Illegal 'json' option with the 'save' command", 2),
        ("-a -t 10.0.0.1:80 -r [::1]:80 -m", "Different address family is allowed only for tunneling servers", 2),
    ];
    for (line, text, code) in rows {
        assert_eq!(mistake(line), (text.to_owned(), code), "{line}");
    }
}

#[test]
fn options_cluster_and_take_their_values_in_every_way() {
    let web = Ok(Command::AddService(KernelService::new(tcp("10.0.0.1", 80), "wlc")));
    for line in [
        "-A -t 10.0.0.1:80",
        "-At 10.0.0.1:80",
        "-A -t10.0.0.1:http",
        "-A -t=10.1:80",
        "--add-service --tcp-service=10.0.0.1:80",
        "-A --tcp-service 0x0a000001:80",
    ] {
        assert_eq!(parsed(line), web, "{line}");
    }
    let Ok(Command::AddService(sticky)) = parsed("-A -t [2001:db8::1]:80 -p -M 64 -s sh -b sh-port") else { panic!() };
    assert_eq!((sticky.timeout, sticky.flags, sticky.netmask.prefix()), (360, 0x11, Some(64)));
    assert_eq!(parsed(""), parsed("-L"));
    let all = Shown::Services { only: None, columns: Columns::Plain, exact: false, unsorted: false };
    assert_eq!(parsed("-ln"), Ok(Command::List(List { what: all, json: false, numeric: true, control_dir: None })));
}

#[test]
fn a_server_has_the_services_port_unless_nat_changes_it() {
    let port = |line: &str| match parsed(line) {
        Ok(Command::AddServer(_, to)) => to.address.port,
        other => panic!("{other:?}"),
    };
    assert_eq!(port("-a -t 10.0.0.1:80 -r 10.0.0.2 -m"), 80);
    assert_eq!(port("-a -t 10.0.0.1:80 -r 10.0.0.2:81 -m"), 81);
    assert_eq!(port("-a -t 10.0.0.1:80 -r 10.0.0.2:81 -g"), 80);
    assert_eq!(port("-a -f 1 -r 10.0.0.2:81 -g"), 81);
    assert_eq!(port("-a -f 1 -r 10.0.0.2"), 0);
}

#[test]
fn numbers_and_addresses_are_read_as_the_c_library_reads_them() {
    assert_eq!(number("+7", 0..=9), Some(7));
    assert_eq!(number("010", 0..=10), Some(10));
    for wrong in ["", "-7", "7s", "0x7", "11", "99999999999999999999"] {
        assert_eq!(number(wrong, 0..=10), None, "{wrong}");
    }
    let read = |text| host_and_port(text, Protocol::Tcp, &FewNames).map(|(ip, port)| format!("{ip} {port}"));
    assert_eq!(read("localhost:http").as_deref(), Some("127.0.0.1 80"));
    assert_eq!(read("1:80").as_deref(), Some("0.0.0.1 80"));
    assert_eq!(read("2001:db8::1:80").as_deref(), Some("2001:db8::1:80 0"));
    assert_eq!(read("[2001:db8::1]:80").as_deref(), Some("2001:db8::1 80"));
    for wrong in
        ["", ":80", "1.2.3.4:", "1.2.3.4:70000", "1.2.3.4.5:1", "256.1.1.1:1", "[::1]", "[::1%lo]:80", "nosuch:80"]
    {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

#[test]
fn large_numbers_are_cut_to_eight_places() {
    let rows = [
        (99_999_999, "99999999"),
        (100_000_000, " 100000K"),
        (999_999_999, " 999999K"),
        (1_000_000_000, "   1000M"),
        (99_999_999_999, "  99999M"),
        (100_000_000_000, "    100G"),
        (99_999_999_999_999, "  99999G"),
        (999_999_999_999_999, "    999T"),
        (123_456_789_012_345_678, " 123456T"),
    ];
    let style = Style { columns: Columns::Stats, numeric: true, exact: false };
    for (number, shown) in rows {
        let mut one = entry(mark(77, Family::V4), &[KernelDestination::new(at("10.77.0.9", 0), method::ROUTE, 1)]);
        one.service.stats.connections = number;
        one.destinations[0].stats.out_bytes = number;
        assert_eq!(
            list::table(&[one], style, &FewNames),
            format!(
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
                 -> RemoteAddress:Port\n\
                 FWM  77                           {shown}        0        0        0        0\n  \
                 -> 10.77.0.9:0                         0        0        0        0 {shown}\n"
            )
        );
    }
}

#[test]
fn services_are_sorted_by_wrapped_differences() {
    let keys = ["127.0.0.1", "10.0.0.1", "0.0.0.1"].map(|ip| entry(tcp(ip, 80), &[]));
    let six = entry(tcp("::1", 80), &[]);
    let marks = [mark(1, Family::V6), mark(u32::MAX, Family::V4), mark(1, Family::V4)].map(|key| entry(key, &[]));
    let sorted = sort::sort(marks.into_iter().chain([six]).chain(keys).collect());
    let text = save::table(&sorted, true, &FewNames);
    let order: Vec<_> = text.lines().map(|line| line.trim_end_matches(" -s rr")).collect();
    assert_eq!(
        order,
        [
            "-A -f -1",
            "-A -t 0.0.0.1:80",
            "-A -t 10.0.0.1:80",
            "-A -t 127.0.0.1:80",
            "-A -t [::1]:80",
            "-A -f 1",
            "-A -f 1 -6",
        ]
    );
    // 224.0.0.1 comes before 0.0.0.1, and after 127.0.0.1.
    let two = |a: &str, b: &str| {
        let sorted = sort::sort(vec![entry(tcp(a, 80), &[]), entry(tcp(b, 80), &[])]);
        sorted[0].service.key == tcp(a, 80)
    };
    assert!(two("224.0.0.1", "0.0.0.1") && two("127.0.0.1", "224.0.0.1"));
}

#[test]
fn connections_are_shown_as_the_kernel_has_them() {
    let connections = connections::parse(include_str!("tests/connections.txt"));
    assert_eq!(connections.len(), 10);
    let text = connections::table(&connections, true, true, &FewNames);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[1],
        "pro expire state       source             virtual            destination        pe name          pe_data"
    );
    assert_eq!(lines[2], "TCP 00:09  CLOSE       10.5.0.1:41548     10.5.0.1:81        127.0.0.1:8080");
    assert_eq!(lines[3], "IP  00:29  NONE        10.77.0.1:0        0.0.0.77:0         10.77.0.9:0");
    assert_eq!(lines[4], "TCP 00:59  SYN_RECV    [2001:db8:7::1]:37474 [2001:db8:7::1]:80 [2001:db8:7::9]:80");
    assert_eq!(
        lines[8],
        "UDP 00:59  NONE        10.5.0.1:0         10.5.0.1:5060      10.77.0.9:5060   sip                abc123@host"
    );
    // Lines of another make are passed over.
    assert_eq!(connections::parse("heading\n\nTCP zz\nTCP 0A 1 2 3\n"), []);
}

/// A daemon whose forwarder has two services, as its status tells it.
fn forwarder() -> Status {
    let mut status = Status::default();
    status.daemon.config_file = "/etc/keepalived/keepalived.conf".to_owned();
    let traffic = |connections, active, in_bytes| Traffic { connections, active, in_bytes, ..Traffic::default() };
    let to = |address: &str, weight, traffic| ForwarderDestination {
        address: address.to_owned(),
        weight,
        upper_threshold: 90,
        lower_threshold: 80,
        persistent: 3,
        traffic,
    };
    status.forwarder = vec![
        ForwarderService {
            service: "10.0.0.1:80 tcp".to_owned(),
            scheduler: "sh".to_owned(),
            flags: vec!["flag-2".to_owned()],
            persistence_timeout: Some(60),
            persistence_granularity: Some(24),
            destinations: vec![to("127.0.0.1:80", 3, traffic(40, 7, 500)), to("10.0.0.3:80", 0, traffic(2, 0, 0))],
            traffic: traffic(42, 7, 500),
        },
        ForwarderService {
            service: "[2001:db8::1]:53 udp".to_owned(),
            scheduler: "rr".to_owned(),
            ..ForwarderService::default()
        },
    ];
    status
}

/// It runs, and says this and that.
struct Running(Seen);

impl Source for Running {
    fn look(&mut self, look: Look<'_>) -> Rc<Seen> {
        let mut seen = self.0.clone();
        if look.rates {
            let before = seen.entries.clone();
            for entry in &mut seen.entries {
                entry.service.stats.connections += 10;
            }
            add_rates(&before, &mut seen.entries, Duration::from_secs(2));
        }
        Rc::new(seen)
    }
}

fn running() -> Running {
    let remarks = vec!["the userspace forwarder is not shown: late".to_owned()];
    Running(Seen { entries: Entry::of_status(&forwarder()), remarks })
}

#[test]
fn the_forwarders_services_are_listed_in_every_column() {
    let entries = Entry::of_status(&forwarder());
    let table = |columns| list::table(&entries, Style { columns, ..Style::default() }, &FewNames);
    assert_eq!(
        table(Columns::Plain),
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  10.0.0.1:http sh (sh-port) persistent 60 mask 255.255.255.0\n  \
         -> localhost:http               Proxy   3      7          0         \n  \
         -> 10.0.0.3:http                Proxy   0      0          0         \n\
         UDP  [2001:db8::1]:53 rr\n"
    );
    let rows = |columns| table(columns).lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        rows(Columns::Stats)[..2],
        [
            "TCP  10.0.0.1:http                      42        0        0      500        0",
            "  -> localhost:http                     40        0        0      500        0",
        ]
    );
    assert_eq!(
        rows(Columns::Thresholds)[1],
        "  -> localhost:http               90         80         7          0         "
    );
    assert_eq!(
        rows(Columns::PersistentConnections)[1],
        "  -> localhost:http               3         3           7          0         "
    );
    let value: serde_json::Value = serde_json::from_str(&json::services(&entries, None)).unwrap();
    let (service, server) = (&value["services"][0], &value["services"][0]["real_servers"][0]);
    assert_eq!(
        (&service["data_plane"], &service["configured_in"]),
        (&"userspace".into(), &"/etc/keepalived/keepalived.conf".into())
    );
    assert_eq!((server["method"].as_str(), server["counters"]["in_bytes"].as_u64()), (Some("proxy"), Some(500)));
}

#[test]
fn rates_are_what_came_meanwhile() {
    let before = Entry::of_status(&forwarder());
    let mut now = before.clone();
    now[0].service.stats.connections += 30;
    now[0].destinations[0].stats.in_bytes += 7000;
    // It was set up anew meanwhile.
    now[0].destinations[1].stats.connections = 0;
    now[1].service.key = tcp("10.0.0.9", 80);
    now[1].service.stats.connections = 1000;
    add_rates(&before, &mut now, Duration::from_millis(2500));
    let rates = |stats: Counters| (stats.connections_per_second, stats.in_bytes_per_second);
    assert_eq!(rates(now[0].service.stats), (12, 0));
    assert_eq!(now[0].destinations.iter().map(|to| rates(to.stats)).collect::<Vec<_>>(), [(0, 2800), (0, 0)]);
    assert_eq!(rates(now[1].service.stats), (0, 0));
}

#[test]
fn services_that_cannot_be_understood_are_left_out() {
    let mut status = forwarder();
    for service in ["", "10.0.0.1:80", "10.0.0.1 tcp", "10.0.0.1:80 quic", "fwmark 0", "fwmark x", "fwmark 7 inet9"] {
        status.forwarder.push(ForwarderService { service: service.to_owned(), ..ForwarderService::default() });
    }
    let marks = [("fwmark 7", Family::V4), ("fwmark 7 inet6", Family::V6)];
    for (service, _) in marks {
        status.forwarder.push(ForwarderService { service: service.to_owned(), ..ForwarderService::default() });
    }
    status.forwarder[0].destinations[1].address = "nobody".to_owned();
    let entries = Entry::of_status(&status);
    let keys: Vec<ServiceKey> = entries.iter().map(|entry| entry.service.key).collect();
    assert_eq!(keys[2..], marks.map(|(_, family)| mark(7, family)));
    assert_eq!(entries[0].destinations.len(), 1);
}

/// What our program says where the kernel has no IPVS, beside a daemon that runs.
fn beside_a_daemon(line: &str) -> (u8, String, String) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut around = Surroundings {
        program: "ipvsadm",
        names: &FewNames,
        forwarder: &mut running(),
        input: &mut Cursor::new("-A -t 10.0.0.1:80 -s rr\n"),
        output: &mut output,
        errors: &mut errors,
    };
    let code = run(&words, &mut around);
    (code, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

#[test]
fn changes_of_the_forwarders_services_are_refused_with_the_file_that_has_them() {
    let file = "/etc/keepalived/keepalived.conf";
    let changed = format!(
        "10.0.0.1:80 tcp is carried by the userspace forwarder: it is changed in {file}, followed by \
                           `holdfast reload`"
    );
    let refused = |line: &str| {
        let (code, output, errors) = beside_a_daemon(line);
        assert_eq!((code, output.as_str()), (255, ""), "{line}");
        errors
    };
    for line in ["-A -t 10.0.0.1:80", "-E -t 10.0.0.1:80 -s rr", "-D -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.0.9"] {
        assert_eq!(refused(line), format!("{changed}\n"), "{line}");
    }
    for line in ["-e -t 10.0.0.1:80 -r 10.0.0.3 -w 2", "-d -t 10.0.0.1:80 -r 10.0.0.3"] {
        let drain = "`holdfast drain 10.0.0.3:80` takes a real server out of it for the time being";
        assert_eq!(refused(line), format!("{changed}; {drain}\n"), "{line}");
    }
    assert!(refused("-Z -t 10.0.0.1:80").ends_with("its counters are never set back\n"));
    assert_eq!(refused("-R"), format!("line 1: {changed}\n"));
}

#[test]
fn json_names_everything() {
    let mut one = entry(mark(7, Family::V6), &[KernelDestination::new(at("2001:db8::1", 443), method::MASQUERADE, 2)]);
    one.service.flags = 0x1 | 0x8;
    one.service.timeout = 60;
    let info = Info { version: 0x01_02_01, table_size: 4096 };
    let value: serde_json::Value = serde_json::from_str(&json::services(&[one], Some(info))).unwrap();
    assert_eq!(value["ipvs_version"], "1.2.1");
    let service = &value["services"][0];
    assert_eq!((&service["fwmark"], &service["family"]), (&7.into(), &"inet6".into()));
    assert_eq!(service["persistence"]["timeout"], 60);
    assert_eq!(service["flags"], serde_json::json!(["flag-1"]));
    assert_eq!(service["real_servers"][0]["method"], "masq");
    assert_eq!(service["real_servers"][0]["tunnel"], serde_json::Value::Null);
}

#[test]
fn names_of_services_are_read_from_the_systems_list() {
    let services = services_of("# c\nhttp 80/tcp www # web\nwww 8080/tcp\nbad line\ndomain\t53/udp\n");
    let names: Vec<_> = services.iter().map(|(name, port, by)| format!("{name} {port} {by}")).collect();
    assert_eq!(names, ["http 80 tcp", "www 8080 tcp", "domain 53 udp", "www 80 tcp"]);
}

#[test]
fn restore_ends_at_a_line_that_is_wrong() {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = run(
        &["-R".to_owned()],
        &mut Surroundings {
            program: "ipvsadm",
            names: &FewNames,
            forwarder: &mut NoForwarder,
            input: &mut Cursor::new("\n  ipvsadm  \n-A -t nosuch:80 -s rr\n-h\n"),
            output: &mut output,
            errors: &mut errors,
        },
    );
    assert_eq!((code, output.len()), (2, 0));
    assert_eq!(String::from_utf8(errors).unwrap(), "line 3: illegal virtual server address[:port] specified\n");
}
