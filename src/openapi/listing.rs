//! The list of an ODS's OpenAPI documents, and where in it an endpoint is most likely described.

use serde_json::Value;

/// Sections that describe no resources, by name, by prefix or in their path.
const OTHERS: [&str; 6] = [
    "changequeries",
    "composites",
    "dependencies",
    "identity",
    "other",
    "profiles",
];

/// What a server answers where a list should be, if not with a document.
pub(crate) enum Listing {
    Entries(Vec<Entry>),
    /// The list is elsewhere.
    Elsewhere(String),
    /// Something that is no metadata.
    Nothing,
}

/// One entry of a list, as it was written.
pub(crate) struct Entry {
    name: String,
    prefix: String,
    pub(crate) address: String,
}

/// What a section is about.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    name: String,
    prefix: String,
    path: String,
}

impl Listing {
    /// Reads an answer; the error says what it is not.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        if let Some(place) = ["specifications", "openApiMetadata"]
            .iter()
            .find_map(|name| {
                value
                    .get(name)
                    .or_else(|| value.get("urls")?.get(name))?
                    .as_str()
            })
        {
            return Ok(Self::Elsewhere(place.to_owned()));
        }
        let entries = value.as_array().into_iter().flatten();
        let entries: Vec<Entry> = entries.filter_map(Entry::read).collect();
        match entries.is_empty() {
            true => Ok(Self::Nothing),
            false => Ok(Self::Entries(entries)),
        }
    }
}

impl Entry {
    fn read(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        Some(Self {
            address: text("endpointUri")?.to_owned(),
            name: text("name").unwrap_or_default().to_owned(),
            prefix: text("prefix").unwrap_or_default().to_owned(),
        })
    }

    /// What the document at `path`, below the base URL, is about; `None` where it describes no
    /// resources.
    pub(crate) fn topic(&self, path: &str) -> Option<Topic> {
        let is_other = |text: &str| OTHERS.contains(&normalized(text).as_str());
        let is_none =
            is_other(&self.name) || is_other(&self.prefix) || path.split('/').any(is_other);
        (!is_none).then(|| Topic::new(&self.name, &self.prefix, path))
    }
}

impl Topic {
    pub(crate) fn new(name: &str, prefix: &str, path: &str) -> Self {
        Self {
            name: normalized(name),
            prefix: normalized(prefix),
            path: normalized(path),
        }
    }

    /// Whether this is the document of all resources, or that of all descriptors: not one of those
    /// beside them, of which a server may list more than it has.
    pub(crate) fn is_of_all_data(&self) -> bool {
        matches!(&*self.name, "resources" | "descriptors")
    }

    /// How early to look for an endpoint here: lower ranks first.
    pub(crate) fn rank(&self, endpoint: &str) -> u8 {
        let namespace = normalized(endpoint.split('/').next().unwrap_or_default());
        let of_descriptor = endpoint.to_ascii_lowercase().ends_with("descriptors");
        let own = !namespace.is_empty() && [&self.name, &self.prefix].contains(&&namespace);
        let has_descriptors =
            self.name.contains("descriptors") || self.path.contains("descriptors");
        match (of_descriptor, has_descriptors, self.name == "resources") {
            (true, true, _) | (false, false, _) if own && namespace != "edfi" => 0,
            (true, true, _) | (false, _, true) => 1,
            (false, true, _) | (true, _, true) => 3,
            _ => 2,
        }
    }
}

/// A name without what writers do not agree on: `Change-Queries`, `changeQueries`.
fn normalized(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
    letters.map(|c| c.to_ascii_lowercase()).collect()
}
