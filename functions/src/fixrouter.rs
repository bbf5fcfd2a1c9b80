//! `Fixrouter`: sends all FIX messages of one symbol the same way.

use md5::{Digest, Md5};

use crate::{Choice, Outputs, Refusal, fix::FixMessage};

/// The choice is the MD5 of the symbol (tag 55; empty where there is none) as a 128-bit big-endian number. MD5 is here
/// to spread, not to protect.
pub(crate) fn fixrouter(message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
    let symbol = FixMessage::parse(message)?.symbol.unwrap_or_default();
    outputs.route(Choice::from(u128::from_be_bytes(Md5::digest(symbol).into())), message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    /// The indexes are those among 2, 3, 4 and 5 outputs.
    fn check(message: &str, md5: u128, indexes: [usize; 4]) {
        let mut outputs = Outputs::default();
        fixrouter(message.as_bytes(), &mut outputs).unwrap();
        let sent: Vec<_> = outputs.iter().collect();
        assert_eq!(sent, [(Choice::from(md5), message.as_bytes())], "{message:?}");
        let index = |outputs| Choice::from(md5).index(NonZeroUsize::new(outputs).unwrap());
        assert_eq!([index(2), index(3), index(4), index(5)], indexes, "{message:?}");
    }

    #[test]
    fn a_symbol_has_its_output() {
        for (symbol, md5, indexes) in [
            ("TSLA", 0xec36_7bc4_f92c_d97c_ec81_bf7b_43cf_faf7, [1, 2, 3, 3]),
            ("BTU", 0xaeb1_2a8e_22c0_7ab4_7eac_193c_73c5_fcb1, [1, 0, 1, 2]),
            ("LNG", 0x9b24_4798_3784_9adc_e62a_66ab_c1c0_94fe, [0, 0, 2, 2]),
            ("VLO", 0x1ec5_9f33_5a5d_3277_47db_60e6_3d28_848e, [0, 1, 2, 0]),
            ("WETF", 0x408a_097b_7cd6_5e4a_d6c0_aa0e_a3f2_116f, [1, 1, 3, 3]),
            ("TWO", 0x0f82_d86a_fa0f_5dc9_65c5_c15a_ca58_dcfb, [1, 1, 3, 3]),
            ("MON", 0xb8a1_7e84_3900_0d17_94cd_35a7_793e_0824, [0, 2, 0, 1]),
            ("AAPL", 0x8b10_e4ae_9eeb_5684_921a_9ab2_7e4d_87aa, [0, 2, 2, 0]),
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e, [0, 0, 2, 1]),
        ] {
            check(&format!("\"8=FIX.4.2\x0135=S\x0155={symbol}\x0110=000\x01\""), md5, indexes);
        }
    }

    #[test]
    fn no_symbol_is_the_empty_symbol() {
        check("35=0", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e, [0, 0, 2, 1]);
        check("hello", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e, [0, 0, 2, 1]);
    }

    #[test]
    fn broken_fix_goes_nowhere() {
        let mut outputs = Outputs::default();
        let refused = fixrouter(b"55=TSLA\x0138=many", &mut outputs).map_err(|refusal| refusal.to_string());
        assert_eq!(refused, Err("Not a number in tag 38 (OrderQty): 'many'".to_owned()));
        assert!(outputs.is_empty());
    }
}
