//! Which bits of the packet mark are ours.

use ringfence_common::mark::MarkLayout;

use crate::cli::failure::Failure;

/// What others use of the packet mark, by default: their bits, and where these are changed.
const OTHERS: [(&str, u32, &str); 2] = [
    (
        "kube-proxy",
        0xc000,
        "iptables.masqueradeBit of kube-proxy, makeIPTablesUtilChains' marks of the kubelet",
    ),
    ("the AWS VPC CNI", 0x80, "AWS_VPC_K8S_CNI_CONNMARK"),
];

/// The bits of the packet mark that are ours.
///
/// # Errors
///
/// The flag, what is wrong with it, and what it allows.
pub fn parse_mark(source: &str, proof: &str) -> Result<MarkLayout, Failure> {
    let mark = MarkLayout {
        source_mask: parse_hex("--mark-source-mask", source)?,
        proof_mask: parse_hex("--mark-proof-mask", proof)?,
    };
    if !mark.is_valid() {
        return Err(Failure::new(
            "the two masks must each be one unbroken run of bits, and must not overlap",
        )
        .at(format!(
            "--mark-source-mask {source} --mark-proof-mask {proof}"
        ))
        .help("the defaults are 0x3fff0000 and 0x40000000"));
    }
    for (whose, bits, setting) in OTHERS {
        if mark.mask() & bits != 0 {
            return Err(Failure::new(format!(
                "the masks take bits {:#x} of the packet mark, which {whose} uses",
                mark.mask() & bits
            ))
            .at(format!(
                "--mark-source-mask {source} --mark-proof-mask {proof}"
            ))
            .help(format!(
                "choose bits outside {bits:#x} (what {whose} uses is set by {setting})"
            )));
        }
    }
    Ok(mark)
}

fn parse_hex(flag: &str, text: &str) -> Result<u32, Failure> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|error| {
        Failure::new(format!("{text:?} is no 32-bit hexadecimal number: {error}"))
            .at(format!("{flag} {text}"))
            .help("write it as 0x3fff0000")
    })
}
