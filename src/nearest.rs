//! The name that was most likely meant, out of those that there are.

/// A name of so many letters may have one wrong.
const LETTERS_PER_ERROR: usize = 4;

/// The endpoint most like an unknown one, if any is like it: with the same name in another
/// namespace, or with a few letters wrong.
pub(crate) fn nearest_endpoint<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let (namespace, name) = split(unknown);
    let errors = (name.len() / LETTERS_PER_ERROR).clamp(1, LETTERS_PER_ERROR);
    let alike = known.into_iter().filter_map(|known| {
        let (other_namespace, other) = split(known);
        let wrong = distance(&name, &other);
        (wrong <= errors).then(|| (wrong, distance(&namespace, &other_namespace), known))
    });
    alike.min().map(|(_, _, known)| known)
}

/// The name most like an unknown one, if any is like it, whatever their case.
pub(crate) fn nearest_name<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = unknown.to_lowercase();
    let errors = (lower.len() / LETTERS_PER_ERROR).clamp(1, LETTERS_PER_ERROR);
    let all = known.into_iter();
    let near = all.map(|known| (distance(&lower, &known.to_lowercase()), known));
    near.filter(|(wrong, _)| *wrong <= errors)
        .min()
        .map(|(_, known)| known)
}

/// Namespace and name, in lower case.
fn split(endpoint: &str) -> (String, String) {
    let lower = endpoint.to_lowercase();
    match lower.rsplit_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (String::new(), lower),
    }
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour.
pub(crate) fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=two.len() {
            let changed = usize::from(one[i - 1] != two[j - 1]);
            let mut best = (last[j - 1] + changed).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == two[j - 2] && one[i - 2] == two[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, two, letters) in [
            ("", "", 0),
            ("schoolid", "schoolid", 0),
            ("scholid", "schoolid", 1),
            ("shcoolid", "schoolid", 1),
            ("studentid", "studentuniqueid", 6),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(one, two), letters, "{one} {two}");
            assert_eq!(distance(two, one), letters, "{two} {one}");
        }
    }

    #[test]
    fn endpoints() {
        let known = ["ed-fi/students", "ed-fi/staffs", "tpdm/candidates"];
        for (unknown, meant) in [
            ("ed-fi/studnets", Some("ed-fi/students")),
            ("ed-fi/Student", Some("ed-fi/students")),
            ("students", Some("ed-fi/students")),
            ("ed-fi/candidates", Some("tpdm/candidates")),
            ("ed-fi/staff", Some("ed-fi/staffs")),
            ("ed-fi/schools", None),
            ("", None),
        ] {
            assert_eq!(nearest_endpoint(unknown, known), meant, "{unknown}");
        }
    }
}
