//! The media types of a profile: an ODS's own narrower view of its resources.
//!
//! `application/vnd.ed-fi.{resource}.{profile}.{readable|writable}+json`, the resource in the
//! singular, all in lower case: as `Accept` of a GET, as `Content-Type` of a POST or PUT.

use reqwest::header::HeaderValue;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What stands below a collection and has no profile.
const BELOW: [&str; 3] = ["deletes", "keychanges", "partitions"];
/// Plurals that no rule makes singular.
const IRREGULAR: [(&str, &str); 1] = [("people", "person")];
/// The ends of plurals, and of their singulars, the longest first.
const ENDINGS: [(&str, &str); 8] = [
    ("statuses", "status"),
    ("ies", "y"),
    ("sses", "ss"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("xes", "x"),
    ("ss", "ss"),
    ("s", ""),
];

/// The name of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile(String);

impl Profile {
    /// A name that can stand in a media type; the error says what is wrong.
    pub(super) fn new(name: &str) -> Result<Self, &'static str> {
        let name = name.trim();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!$&^+".contains(&byte);
        match name {
            "" => Err("profile is empty"),
            name if name.bytes().all(is_plain) => Ok(Self(name.to_owned())),
            _ => {
                Err("profile must be a name as it stands in a media type, such as \"Grades-Only\"")
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    fn media_type(&self, resource: &str, usage: &str) -> HeaderValue {
        let resource = singular(&resource.to_ascii_lowercase());
        let profile = self.0.to_ascii_lowercase();
        let text = format!("application/vnd.ed-fi.{resource}.{profile}.{usage}+json");
        HeaderValue::from_str(&text).unwrap_or(JSON)
    }
}

/// What a GET of a collection accepts; `path` is that of its URL, or its endpoint.
pub(crate) fn readable(profile: Option<&Profile>, path: &str) -> HeaderValue {
    let name = last(path);
    match profile {
        Some(profile) if !BELOW.contains(&&*name.to_ascii_lowercase()) => {
            profile.media_type(name, "readable")
        }
        _ => JSON,
    }
}

/// What the body of a POST or PUT to a collection is.
pub(crate) fn writable(profile: Option<&Profile>, path: &str) -> HeaderValue {
    profile.map_or(JSON, |profile| profile.media_type(last(path), "writable"))
}

fn last(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

fn singular(plural: &str) -> String {
    if let Some((_, singular)) = IRREGULAR.iter().find(|(known, _)| *known == plural) {
        return (*singular).to_owned();
    }
    let ending = ENDINGS.iter();
    let mut ending = ending.filter_map(|(end, single)| {
        let stem = plural.strip_suffix(end)?;
        Some(format!("{stem}{single}"))
    });
    ending.next().unwrap_or_else(|| plural.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Profile, readable, singular, writable};

    #[test]
    fn singulars() {
        for (plural, expected) in [
            ("students", "student"),
            ("people", "person"),
            ("localeducationagencies", "localeducationagency"),
            ("courses", "course"),
            ("classes", "class"),
            ("responses", "response"),
            ("studentpathmilestonestatuses", "studentpathmilestonestatus"),
            ("crisisevents", "crisisevent"),
            ("absencecategorydescriptors", "absencecategorydescriptor"),
        ] {
            assert_eq!(singular(plural), expected);
        }
    }

    #[test]
    fn media_types() {
        let profile = Profile::new("Grades-Only").unwrap();
        let profile = Some(&profile);
        let path = "/data/v3/ed-fi/studentSchoolAssociations";
        let student = "application/vnd.ed-fi.studentschoolassociation.grades-only";
        assert_eq!(readable(profile, path), format!("{student}.readable+json"));
        assert_eq!(writable(profile, path), format!("{student}.writable+json"));
        for below in ["deletes", "keyChanges", "partitions"] {
            let path = format!("{path}/{below}");
            assert_eq!(readable(profile, &path), "application/json");
        }
        assert_eq!(readable(None, path), "application/json");
        for wrong in ["", " ", "a b", "a/b", "a;b", "é"] {
            assert!(Profile::new(wrong).is_err(), "{wrong}");
        }
    }
}
