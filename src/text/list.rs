//! Lists as texts: in settings, entries separated by commas with optional blanks around them; in the parameters of
//! Proxmox, whatever it takes for a separator.

/// The items of a list as Proxmox splits it (`PVE/Tools.pm`, `split_list`).
pub(crate) fn items(list: &str) -> impl Iterator<Item = &str> {
    let separators = |c: char| [',', ';', '\0'].contains(&c) || c.is_whitespace();
    list.split(separators).filter(|item| !item.is_empty())
}

/// Parses each entry with `read`.
///
/// An error is prefixed with the entry's number if there are several: the entry itself may be a secret in the
/// wrong setting.
pub(crate) fn each<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let is_alone = !text.contains(',');
    let entries = text.split(',').map(str::trim).enumerate();
    let entries = entries.map(|(place, entry)| match read(entry) {
        Err(problem) if !is_alone => Err(format!("entry {} {problem}", place + 1)),
        read => read,
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_invalid_entry_by_its_number() {
        let read = |text| {
            each(text, |entry| {
                entry
                    .parse::<u8>()
                    .map_err(|_| "is not a number".to_owned())
            })
        };
        assert_eq!(read(" 1 ,2"), Ok(vec![1, 2]));
        assert_eq!(read("1,x,y"), Err("entry 2 is not a number".to_owned()));
        assert_eq!(read("1,"), Err("entry 2 is not a number".to_owned()));
        assert_eq!(read("x"), Err("is not a number".to_owned()));
    }
}
