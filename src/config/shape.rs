//! A value of another type than its key has, in words that say what to write.
//!
//! It sees what the reader of TOML says and the line it says it of. Invariant: a value is never repeated: it may be a
//! secret that was written where its table belongs.

/// The message of a fault, of which `before` is the text of the file in front.
pub(super) fn told(message: &str, before: &str) -> String {
    let message = without_value(&message.lines().collect::<Vec<_>>().join(", "));
    let Some((told, expected)) = message.rsplit_once(", expected ") else { return message };
    let Some(key) = key(before).filter(|_| told.starts_with("invalid type: ")) else { return message };
    let example = example(key);
    match expected {
        "a sequence" => format!("{told}, expected a list; write {key} = [{example}]"),
        "a string" => format!("{told}, expected text; write {key} = {example}"),
        _ => message,
    }
}

/// The key that is given a value where `before` ends.
fn key(before: &str) -> Option<&str> {
    let line = before.rsplit('\n').next()?;
    let head = line.trim_end().strip_suffix('=')?.trim_end();
    let start = head.rfind(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).map_or(0, |at| at + 1);
    head.get(start..).filter(|key| !key.is_empty())
}

/// What may stand at that key, quoted.
fn example(key: &str) -> &'static str {
    match key {
        "allow" | "hosts" | "host" | "passthrough" => "\"HOST\"",
        "ports" => "\"443\"",
        "methods" => "\"GET\"",
        "paths" => "\"/v1/**\"",
        "protocols" => "\"tcp\"",
        "action" | "default" => "\"allow\"",
        "direction" => "\"egress\"",
        "group" => "\"public\"",
        "address" | "from" => "\"10.0.0.0/8\"",
        "nameservers" => "\"9.9.9.9\"",
        "publish" | "port" => "\"8080:80\"",
        "upstream_ca" | "ca" => "\"FILE\"",
        "swap" => "\"header\"",
        _ => "\"TEXT\"",
    }
}

/// serde repeats a value of the wrong type.
fn without_value(message: &str) -> String {
    let value = |text: &str| text.find(['"', '`']).map(|start| text[..start].trim_end().to_owned());
    match message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            format!("invalid type: {}, expected {expected}", value(found).unwrap_or_else(|| found.to_owned()))
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_type_is_told_what_to_write_and_its_value_is_not_repeated() {
        for (message, before, expected) in [
            (
                "invalid type: integer `443`, expected a sequence",
                "[[rule]]\nports = ",
                "invalid type: integer, expected a list; write ports = [\"443\"]",
            ),
            (
                "invalid type: string \"hunter2, expected x\", expected a sequence",
                "x = { hosts = ",
                "invalid type: string, expected a list; write hosts = [\"HOST\"]",
            ),
            (
                "invalid type: integer `1`, expected a string",
                "action=",
                "invalid type: integer, expected text; write action = \"allow\"",
            ),
            (
                "invalid type: integer `1`, expected a sequence",
                "",
                "invalid type: integer, expected a sequence",
            ),
            ("missing field `port`", "[[publish]]\n", "missing field `port`"),
            ("a\nb", "", "a, b"),
        ] {
            assert_eq!(told(message, before), expected);
        }
    }
}
