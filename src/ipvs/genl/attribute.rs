//! Attributes of netlink messages: written one after the other, and read with every length checked.
//!
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_F_NESTED, NlasIterator};

use crate::vrrp::types::Family;

/// `struct nlattr`: length and kind.
const HEADER: usize = 4;

/// Attributes to be sent.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// One with these bytes. A value of more than 64 KiB does not fit an attribute and is cut.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let value = value.get(..value.len().min(usize::from(u16::MAX) - 8)).unwrap_or(value);
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        // Tables have tens of thousands of these: they are written where they are to be, and nothing is allocated.
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// One byte.
    pub fn put_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.put(kind, &[value])
    }

    /// Two bytes in the machine's order.
    pub fn put_u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Two bytes in the network's order.
    pub fn put_port(&mut self, kind: u16, value: u16) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Four bytes in the machine's order.
    pub fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Text with the zero byte that ends it.
    pub fn put_text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// An address in the kernel's union: 16 bytes, of which IPv4 uses the first four.
    pub fn put_union_address(&mut self, kind: u16, value: IpAddr) -> &mut Self {
        let mut bytes = [0; 16];
        match value {
            IpAddr::V4(address) => bytes.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        self.put(kind, &bytes)
    }

    /// Attributes inside this one.
    pub fn nest(&mut self, kind: u16, inner: &Self) -> &mut Self {
        self.put(kind | NLA_F_NESTED, &inner.0)
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Attributes that were received: the last one of each kind counts, unknown kinds are passed over.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value of an attribute. What follows a damaged one is not found.
    pub fn bytes(&self, kind: u16) -> Option<&'a [u8]> {
        let mut found = None;
        let mut rest = self.0;
        for attribute in NlasIterator::new(self.0).map_while(Result::ok) {
            let length = usize::from(attribute.length());
            if attribute.kind() == kind {
                found = rest.get(4..length);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        found
    }

    /// The attributes inside of one.
    pub fn nested(&self, kind: u16) -> Option<Reader<'a>> {
        self.bytes(kind).map(Reader)
    }

    /// A number of one, two, four or eight bytes in the machine's order.
    pub fn number(&self, kind: u16) -> Option<u64> {
        let bytes = self.bytes(kind)?;
        Some(match bytes.len() {
            1 => u64::from(*bytes.first()?),
            2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
            4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
            8 => u64::from_ne_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// A number of at most four bytes.
    pub fn u32(&self, kind: u16) -> Option<u32> {
        self.number(kind).and_then(|number| u32::try_from(number).ok())
    }

    /// A number of at most two bytes.
    pub fn u16(&self, kind: u16) -> Option<u16> {
        self.number(kind).and_then(|number| u16::try_from(number).ok())
    }

    /// A port, in the network's order.
    pub fn port(&self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(kind)?.try_into().ok()?))
    }

    /// Text up to its zero byte.
    pub fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.bytes(kind)?.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// An address of that family.
    pub fn address(&self, kind: u16, family: Family) -> Option<IpAddr> {
        let bytes = self.bytes(kind)?;
        Some(match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?)),
        })
    }
}

/// `AF_INET`, `AF_INET6`.
pub fn family_number(family: Family) -> u16 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// The family of that number.
pub fn family_of(number: u16) -> Option<Family> {
    match number {
        2 => Some(Family::V4),
        10 => Some(Family::V6),
        _ => None,
    }
}
