//! Mail addresses as configurations write them.
//!
//! Pure. keepalived passes on whatever it is given; an address that no mail server would take is found here.

use lettre::Address;

/// The address in `a@b`, `<a@b>` or `Name <a@b>`; one without a domain gets the one of this host later.
///
/// # Errors
/// It is no mail address, for people.
pub fn bare(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let inner = match text.split_once('<') {
        Some((_, rest)) => rest.split_once('>').map(|(inner, _)| inner),
        None => Some(text),
    };
    let inner = inner.map(str::trim).filter(|inner| !inner.contains(char::is_whitespace));
    let inner = inner.ok_or_else(|| format!("`{text}` is no mail address"))?;
    let whole = if inner.contains('@') { inner.to_owned() } else { format!("{inner}@localhost") };
    match whole.parse::<Address>() {
        Ok(_) => Ok(inner),
        Err(why) => Err(format!("`{text}` is no mail address: {why}")),
    }
}

/// The address for the mail server, and the name to show; `host` is the domain of one that has none.
///
/// # Errors
/// It is no mail address.
pub fn complete(text: &str, host: &str) -> Result<(Option<String>, Address), String> {
    let inner = bare(text)?;
    let whole = if inner.contains('@') { inner.to_owned() } else { format!("{inner}@{host}") };
    let address = whole.parse().map_err(|why| format!("`{whole}` is no mail address: {why}"))?;
    let name = text.split_once('<').map(|(name, _)| name.trim().trim_matches('"').to_owned());
    Ok((name.filter(|name| !name.is_empty()), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let rows = [
            ("a@b.example", Some((None, "a@b.example"))),
            ("<a@b.example>", Some((None, "a@b.example"))),
            ("Lower Two <a@b.example>", Some((Some("Lower Two"), "a@b.example"))),
            ("\"Quoted\" <a@b.example>", Some((Some("Quoted"), "a@b.example"))),
            ("root", Some((None, "root@host.example"))),
            ("", None),
            ("a@", None),
            ("a b@c", None),
            ("Name <a@b", None),
            ("a@b\r\nBcc: c@d", None),
        ];
        for (text, want) in rows {
            let got = complete(text, "host.example").ok().map(|(name, address)| (name, address.to_string()));
            let want = want.map(|(name, address): (Option<&str>, &str)| (name.map(str::to_owned), address.to_owned()));
            assert_eq!(got, want, "{text}");
        }
    }
}
