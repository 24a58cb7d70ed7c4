//! What `/proc/PID/smaps` says of a program's own pages.
//!
//! Pure.

use std::ops::Range;

/// The parts of memory that are as they are in the program's file, and can be read from there again: read-only, no page
/// of them written since (relocations are), none locked.
pub fn untouched(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut current: Option<Range<usize>> = None;
    for line in smaps.lines() {
        if let Some(mapping) = head(line) {
            found.extend(current.take());
            let Mapping { range, permissions, path } = mapping;
            current = (path == program && matches!(permissions, "r--p" | "r-xp")).then_some(range);
        } else if let Some((name, value)) = line.split_once(':')
            && matches!(name, "Anonymous" | "Locked" | "Private_Dirty")
            && !value.trim_start().starts_with("0 ")
        {
            current = None;
        }
    }
    found.extend(current);
    found
}

struct Mapping<'a> {
    range: Range<usize>,
    permissions: &'a str,
    path: &'a str,
}

/// `start-end permissions offset device inode path`.
fn head(line: &str) -> Option<Mapping<'_>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let mut words = rest.splitn(5, ' ');
    let permissions = words.next()?;
    let path = words.nth(3).unwrap_or_default().trim_start();
    Some(Mapping { range: number(start)?..number(end)?, permissions, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r--p 00000000 fe:00 77                                 /usr/sbin/holdfast
Size:                  8 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
Locked:                0 kB
VmFlags: rd mr mw me
3000-9000 r-xp 00002000 fe:00 77                                 /usr/sbin/holdfast
Private_Dirty:         0 kB
Anonymous:             0 kB
Locked:                0 kB
9000-a000 r--p 00008000 fe:00 77                                 /usr/sbin/holdfast
Private_Dirty:         4 kB
Anonymous:             4 kB
Locked:                0 kB
a000-b000 rw-p 00009000 fe:00 77                                 /usr/sbin/holdfast
Anonymous:             0 kB
b000-c000 rw-p 00000000 00:00 0                                  [heap]
Anonymous:             0 kB
c000-d000 r-xp 00000000 fe:00 78                                 /usr/lib/libc.so.6
Anonymous:             0 kB
d000-e000 r-xp 00000000 fe:00 77                                 /usr/sbin/holdfast
Anonymous:             0 kB
Locked:                4 kB
e000-f000 r-xp 00000000 00:00 0
";

    #[test]
    fn only_clean_parts_of_the_program_are_let_go() {
        assert_eq!(untouched(SMAPS, "/usr/sbin/holdfast"), [0x1000..0x3000, 0x3000..0x9000]);
        assert_eq!(untouched(SMAPS, "/usr/sbin/hold"), []);
        assert_eq!(untouched("nonsense\n12-zz r--p\n:\n", "nonsense"), []);
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        crate::net::sys::release_program();
        assert_eq!(untouched(SMAPS, "/usr/lib/libc.so.6"), [0xc000..0xd000]);
    }
}
