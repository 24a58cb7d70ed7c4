//! Requests read back through the reader of the kernel's own messages, which have the same form.

use proptest::prelude::*;

use super::*;

const ETH: IfIndex = IfIndex(7);

fn only(bytes: &[u8]) -> Message {
    let mut messages = decode(bytes);
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

#[test]
fn an_address_with_every_option_is_read_back() {
    let mut config = AddressConfig::new("192.0.2.10".parse().expect("literal"));
    config.prefix_len = 24;
    config.scope = 253;
    config.options.broadcast = Some(Ipv4Addr::new(192, 0, 2, 255));
    config.options.label = Some("eth0:vip".to_owned());
    config.options.peer = Some("192.0.2.99".parse().expect("literal"));
    config.no_prefix_route = true;
    config.autojoin = true;
    let message = only(&add_address(42, ETH, &config));
    assert_eq!(message.sequence, 42);
    assert_eq!(
        message.notice,
        Notice::Address(
            ETH,
            AddressFacts {
                address: config.address,
                prefix_len: 24,
                scope: 253,
                flags: 0x600,
                protocol: PROTOCOL_VRRP,
                options: OptionFacts {
                    peer: config.options.peer,
                    label: config.options.label.clone(),
                    broadcast: config.options.broadcast,
                }
                .into(),
            }
        )
    );
}

#[test]
fn ipv6_skips_duplicate_address_detection_unless_asked() {
    let mut config = AddressConfig::new("2001:db8::1".parse().expect("literal"));
    assert_eq!(address_flags(&config), libc::IFA_F_NODAD);
    config.dad = true;
    config.home = true;
    config.manage_temporary = true;
    assert_eq!(address_flags(&config), 0x110);
}

#[test]
fn a_bridge_port_that_goes_is_no_link_that_goes() {
    let mut payload = vec![0_u8; 16];
    payload[4] = 7;
    payload.extend([8, 0, 3, 0, b'e', b't', b'h', 0]);
    assert_eq!(notice(libc::RTM_DELLINK, 0, &payload), Some(Notice::LinkGone(ETH)));
    payload[0] = 7; // AF_BRIDGE
    assert_eq!(notice(libc::RTM_DELLINK, 0, &payload), Some(Notice::BridgePortGone(ETH)));
}

#[test]
fn a_bridge_tells_the_state_of_its_ports() {
    let mut payload = vec![0_u8; 16];
    payload[0] = 7; // AF_BRIDGE
    payload[4] = 7;
    payload.extend([8, 0, 10, 0, 3, 0, 0, 0]); // IFLA_MASTER
    let without = payload.clone();
    payload.extend([12, 0, 12, 0x80, 5, 0, 1, 0, 3, 0, 0, 0]); // IFLA_PROTINFO { IFLA_BRPORT_STATE }
    let port = |forwards| Notice::BridgePort { port: ETH, bridge: IfIndex(3), forwards };
    assert_eq!(notice(libc::RTM_NEWLINK, 0, &payload), Some(port(true)));
    payload[32] = 2;
    assert_eq!(notice(libc::RTM_NEWLINK, 0, &payload), Some(port(false)));
    assert_eq!(notice(libc::RTM_NEWLINK, 0, &without), None);
}

#[test]
fn answers_carry_errno_and_the_kernels_words() {
    let mut payload = (-17_i32).to_ne_bytes().to_vec();
    payload.extend(16_u32.to_ne_bytes());
    payload.extend([0; 12]);
    assert_eq!(answer(0, &payload), Some((17, None)));
    payload.extend([8, 0, 1, 0, b'w', b'h', b'y', 0]);
    assert_eq!(answer(NLM_F_ACK_TLVS | NLM_F_CAPPED, &payload), Some((17, Some("why".to_owned()))));
    assert_eq!(answer(0, &[1, 2]), None);
}

proptest! {
    #[test]
    fn no_datagram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes);
    }

    #[test]
    fn no_message_of_a_known_kind_panics(
        kind in prop::sample::select(vec![2_u16, 3, 16, 17, 20, 21]),
        flags: u16,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = u32::try_from(body.len() + 16).expect("small").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        decode(&bytes);
    }
}
