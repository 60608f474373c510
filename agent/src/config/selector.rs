//! Label selectors as kubectl's `-l` writes them.

use crate::model::{Operator, Requirement, Selector, Set};

/// Reads `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
///
/// # Errors
///
/// The part that cannot be read.
pub fn parse(text: &str) -> Result<Selector, String> {
    let requirements = parts(text)?
        .into_iter()
        .map(requirement)
        .collect::<Result<_, _>>()?;
    Ok(Selector { requirements })
}

/// Splits at commas outside parentheses.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' if inside => return Err("a parenthesis within parentheses".to_owned()),
            '(' => inside = true,
            ')' if !inside => return Err("a closing parenthesis without an opening one".to_owned()),
            ')' => inside = false,
            ',' if !inside => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("an opening parenthesis without a closing one".to_owned());
    }
    parts.push(text[start..].trim());
    Ok(parts)
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let one = |value: &str| -> Result<Set<String>, String> { Ok([checked(value, part)?].into()) };
    let (key, operator) = if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn(one(value)?))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Operator::In(one(value)?))
    } else if let Some((key, values)) = set(part, "notin")? {
        (key, Operator::NotIn(values))
    } else if let Some((key, values)) = set(part, "in")? {
        (key, Operator::In(values))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else {
        (part, Operator::Exists)
    };
    let key = checked(key, part)?;
    if key.is_empty() {
        return Err(format!("{part:?} has no label"));
    }
    Ok(Requirement { key, operator })
}

type Listed<'a> = Option<(&'a str, Set<String>)>;

fn set<'a>(part: &'a str, word: &str) -> Result<Listed<'a>, String> {
    let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) else {
        return Ok(None);
    };
    let Some((key, found)) = head.trim().rsplit_once(char::is_whitespace) else {
        return Ok(None);
    };
    if found != word {
        return Ok(None);
    }
    let values = values
        .split(',')
        .map(|value| checked(value, part))
        .collect::<Result<_, _>>()?;
    Ok(Some((key, values)))
}

fn checked(word: &str, part: &str) -> Result<String, String> {
    let word = word.trim();
    let fits =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/');
    if word.chars().all(fits) {
        Ok(word.to_owned())
    } else {
        Err(format!("{part:?} cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    #[test]
    fn every_form_is_read() {
        let selector = parse("a=b, c!=d,e in (x, y),f notin (z),g,!h,example.com/i==j").unwrap();
        assert_eq!(selector.requirements.len(), 7);
        let labels: Labels = [("a", "b"), ("e", "y"), ("g", ""), ("example.com/i", "j")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert!(selector.matches(&labels));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for text in [
            "", "a=b,", "a in b", "a in (b", "a)b", "=b", "a b", "a=b=c", "a of (b)",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
