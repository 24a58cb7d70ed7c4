//! `-h` and `-v`.
//!
//! Pure.

/// The first line; tools take the second word as ipvsadm's version.
pub fn version() -> String {
    format!("ipvsadm v1.31 2019/12/24 (holdfast {} and IPVS v1.2.1)\n", env!("CARGO_PKG_VERSION"))
}

/// How the program is used.
pub fn usage(program: &str) -> String {
    let version = version();
    format!(
        "{version}Usage:
  {program} -A|-E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M NETMASK] [--pe ENGINE] [-b FLAG,…] [-o]
  {program} -D SERVICE
  {program} -a|-e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  {program} -d SERVICE -r SERVER
  {program} -L|-l [SERVICE] [-n] [--stats|--rate|--thresholds|--persistent-conn|--tun-info]
             [--exact] [--nosort] [--json] [--control-dir DIR]
  {program} -L -c [-n] [--persistent-conn] [--json]
  {program} -L --timeout|--daemon [--json]
  {program} -Z [SERVICE]
  {program} -C
  {program} -S [-n]
  {program} -R
  {program} --set TCP TCPFIN UDP
  {program} --start-daemon master|backup --mcast-interface NAME [--syncid N] [--sync-maxlen BYTES]
             [--mcast-group ADDRESS] [--mcast-port N] [--mcast-ttl N]
  {program} --stop-daemon master|backup
  {program} -h

Commands:
  -A, --add-service      add a virtual service
  -E, --edit-service     change a virtual service
  -D, --delete-service   remove a virtual service and its servers
  -a, --add-server       add a real server to a service
  -e, --edit-server      change a real server
  -d, --delete-server    remove a real server from a service
  -L, -l, --list         show services and servers, those of the userspace forwarder too
  -Z, --zero             set counters back to 0
  -C, --clear            empty the kernel's table
  -S, --save             print the kernel's table as commands
  -R, --restore          carry out such commands from standard input
      --set              set the connection timeouts; 0 leaves one as it is
      --start-daemon     start a connection synchronisation daemon
      --stop-daemon      stop it

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK [-6]     packets with a firewall mark; -6 (--ipv6) for IPv6

Options of services:
  -s, --scheduler NAME       rr, wrr, lc, wlc (the default), lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh
  -p, --persistent [SECONDS] a client stays with its server (360)
  -M, --netmask NETMASK      clients of one network are one client (IPv6: a prefix length)
      --pe ENGINE            persistence by something else than the address: sip
  -b, --sched-flags FLAG,…   sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3
  -o, --ops                  each packet for itself

Options of servers:
  -r, --real-server HOST[:PORT]
  -g, --gatewaying           direct routing (the default)
  -i, --ipip                 in a tunnel
  -m, --masquerading         NAT
  -w, --weight N             1 by default; 0 gets no new connections
  -x, --u-threshold N        no new connections from this many on
  -y, --l-threshold N        new ones again below this many
      --tun-type TYPE        ipip (the default), gue or gre
      --tun-port N           UDP port of gue
      --tun-nocsum, --tun-csum, --tun-remcsum

Options of -L:
  -n, --numeric              numbers instead of names
  -c, --connection           connections
      --stats, --rate        counters, or rates
  -X, --exact                large numbers in full
      --thresholds           thresholds
      --persistent-conn      persistent connections
      --tun-info             tunnels
      --nosort               in the kernel's order
      --timeout              the connection timeouts
      --daemon               the connection synchronisation daemons
      --json                 as JSON, in full (not in other ipvsadm)
      --control-dir DIR      the userspace forwarder of the daemon whose control sockets are there, instead of those of
                             all daemons of this network namespace (not in other ipvsadm)
"
    )
}
