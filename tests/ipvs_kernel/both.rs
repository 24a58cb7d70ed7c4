//! Both data planes at once: `holdfast ipvsadm` shows the kernel's services and the userspace forwarder's in one list.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan;

use crate::in_guest;
use crate::tools::{ipvsadm, output};

const PATIENCE: Duration = Duration::from_secs(90);

/// The first is the kernel's, the second the forwarder's.
const BOTH: &str = "
virtual_server 10.53.0.1 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.168.0.1 80 { weight 3 }
}
virtual_server 10.53.0.1 81 {
    lb_algo rr
    lb_kind PROXY
    protocol TCP
    real_server 10.53.0.2 8080 { weight 2 }
}
";

#[test]
fn one_list_shows_the_kernels_services_and_the_forwarders() {
    in_guest!();
    let host = Host::new("director").unwrap();
    lan::set_up(&host, "lo", true).unwrap();
    lan::add_address(&host, "lo", Ipv4Addr::new(10, 53, 0, 1).into(), 32).unwrap();
    let daemon = Daemon { program: env!("CARGO_BIN_EXE_holdfast").into(), options: vec!["-C".to_owned()] };
    let mut director = Director::new(host, daemon, BOTH, Vec::new()).unwrap();
    director.start().unwrap();
    let ours = |line: &'static str| {
        director.host().run(move || {
            let words: Vec<&str> = line.split_whitespace().collect();
            let output = output("/run/lab/holdfast", &[&["ipvsadm"], &words[..]].concat());
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
        })
    };
    let theirs = |line: &'static str| director.host().run(move || ipvsadm(line));
    let forwarders = "TCP  10.53.0.1:81 rr\n  -> 10.53.0.2:8080               Proxy   2      0          0         \n";
    let deadline = Instant::now() + PATIENCE;
    while !(theirs("-S -n").contains("-w 3") && ours("-L -n").1.contains(forwarders)) {
        assert!(Instant::now() < deadline, "{:?}\n{:?}", ours("-L -n"), director.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    // The kernel's part is as Debian's shows it.
    let kernels = theirs("-L -n");
    assert!(kernels.contains("TCP  10.53.0.1:80 rr") && !kernels.contains("10.53.0.1:81"), "{kernels}");
    assert_eq!(ours("-L -n"), (0, kernels + forwarders, String::new()));
    for columns in ["-L -n --stats", "-L -n --thresholds", "-L -n --persistent-conn", "-L -n --rate"] {
        let (code, all, errors) = ours(columns);
        assert_eq!((code, errors.as_str()), (0, ""), "{columns}");
        assert!(all.starts_with(&theirs(columns)) && all.contains("10.53.0.1:81"), "{all}");
    }
    let (_, json, _) = ours("-L --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let services = json["services"].as_array().unwrap();
    let planes: Vec<_> = services.iter().map(|service| (&service["port"], &service["data_plane"])).collect();
    assert_eq!(planes, [(&80.into(), &"kernel".into()), (&81.into(), &"userspace".into())]);
    // What can be restored is the kernel's.
    assert_eq!(ours("-S -n"), (0, theirs("-S -n"), String::new()));
    // A service of the kernel would take the forwarder's traffic; on the kernel's own one all goes as ever.
    let (code, _, errors) = ours("-A -t 10.53.0.1:81 -s rr");
    let why = "10.53.0.1:81 tcp is carried by the userspace forwarder: it is changed in";
    assert!(code == 255 && errors.starts_with(why), "{errors}");
    let (code, _, errors) = ours("-a -t 10.53.0.1:81 -r 10.53.0.9 -m");
    assert!(code == 255 && errors.starts_with(why) && errors.contains(CONFIG), "{errors}");
    assert_eq!(ours("-e -t 10.53.0.1:80 -r 192.168.0.1:80 -m -w 9"), (0, String::new(), String::new()));
    assert!(theirs("-S -n").contains("-w 9"));
    director.stop(PATIENCE).unwrap();
    assert_eq!(director.host().run(|| ipvsadm("-S -n")), "");
}
