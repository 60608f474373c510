//! Marks as `nft list ruleset` writes them, in its words of now and of before.

use super::number;

/// The bits of the packet mark that the words of a rule write to.
pub(super) fn bits_set(words: &[&str]) -> u32 {
    let words: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !matches!(*word, "(" | ")"))
        .collect();
    let sets = |at: usize| {
        // `meta mark set`, or `mark set`; `ct mark set` is about the connection.
        words[at..].starts_with(&["mark", "set"]) && (at == 0 || words[at - 1] != "ct")
    };
    (0..words.len())
        .filter(|&at| sets(at))
        .fold(0, |bits, at| bits | written(&words[at + 2..]))
}

/// The bits that differ from the mark of before, whatever it was; all of them if that cannot be told.
fn written(expression: &[&str]) -> u32 {
    let mut rest = match expression {
        ["meta", "mark", rest @ ..] | ["mark", rest @ ..] => rest,
        _ => return u32::MAX,
    };
    let mut bits = 0;
    loop {
        // Who sets a mark may do something else afterwards, which is not of the expression.
        let (cleared, operands) = match rest {
            ["&" | "and", operands @ ..] => (true, operands),
            ["|" | "or" | "^" | "xor", operands @ ..] => (false, operands),
            ["<<" | ">>", ..] => return u32::MAX,
            _ => return bits,
        };
        let operand = match operands {
            // A part of the connection's mark.
            ["ct", "mark", "&" | "and", mask, after @ ..] if !cleared => {
                rest = after;
                number(mask)
            }
            [mask, after @ ..] => {
                rest = after;
                number(mask).map(|mask| if cleared { !mask } else { mask })
            }
            [] => None,
        };
        let Some(operand) = operand else {
            return u32::MAX;
        };
        bits |= operand;
    }
}
