//! `FILE_CHECK`: the number in a file that main watches is a weight.
//!
//! Pure.

use super::config::FileProbe;
use super::finding::{Failure, Finding};

/// A product of this or less is no weight: the server is down (keepalived's `IPVS_WEIGHT_FAULT`).
const FAULT: i64 = -2_147_483_648;

/// What a file's number means for a real server. A file that cannot be read says nothing.
pub fn judge(probe: &FileProbe, value: Option<i64>) -> Finding {
    let Some(value) = value else { return Err(Failure::ours(format!("{} cannot be read", probe.file))) };
    let sign = if probe.reverse { -1 } else { 1 };
    let product = value.saturating_mul(i64::from(probe.weight)).saturating_mul(sign);
    if product <= FAULT {
        return Err(Failure::unfit(format!("the number in {} is {value}, which makes {product}", probe.file)));
    }
    // No weight is larger than the largest that the kernel takes.
    Ok(product.min(i64::from(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_multiplied_and_may_be_turned() {
        let table = [
            (Some(5), 1, false, Some(5)),
            (Some(5), 3, false, Some(15)),
            (Some(5), 3, true, Some(-15)),
            (Some(0), -1, false, Some(0)),
            (Some(i64::MAX), 2, false, Some(2_147_483_647)),
            (Some(-2_147_483_648), 1, false, None),
            (Some(-2_147_483_647), 1, false, Some(-2_147_483_647)),
            (Some(2_147_483_647), 2, true, None),
            (Some(i64::MIN), 1, true, Some(2_147_483_647)),
            (None, 1, false, None),
        ];
        for (value, weight, reverse, expected) in table {
            let probe = FileProbe { file: "f".to_owned(), weight, reverse };
            assert_eq!(judge(&probe, value).ok(), expected, "{value:?} × {weight}, reverse {reverse}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_our_trouble() {
        let probe = FileProbe { file: "f".to_owned(), weight: 1, reverse: false };
        assert_eq!(judge(&probe, None), Err(Failure::ours("f cannot be read")));
    }
}
