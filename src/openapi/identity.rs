//! The natural key of a resource: which values of a body identify its item.
//!
//! The query parameters that are flagged `x-Ed-Fi-isIdentity` say what belongs to it; the schemas
//! do not (`interventionPrescriptionReference` is required of an item, and no part of its key).
//! `places` finds where bodies have them.
//!
//! [`Identity::key`] gives what two payloads have in common exactly if they are one item:
//!
//! ```text
//! let identity = Metadata::of(&context, &access).identity("ed-fi/students").await?; // Option<Arc<Identity>>
//! let key: String = identity.key(br#"{"studentUniqueId": "604822"}"#)?; // ["604822"]
//! ```

use serde_json::Value;

use super::pick::Picker;
use super::places::{Parameter, Place, by_parameters, by_properties, last, places};
use super::record::{Kind, Record};
use super::resolve::Resolver;
use crate::columns::in_utc;

/// What identifies a descriptor, whatever its document says.
const DESCRIPTOR_KEY: [&str; 2] = ["codeValue", "namespace"];

/// The natural key of one resource.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    fields: Vec<KeyField>,
    picker: Picker,
}

/// One part of a natural key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeyField {
    /// Its name as a query parameter, and in the `keyValues` of deletes.
    pub(crate) param: Box<str>,
    /// Where a body has it: at least one path, those in required places first. Values at several
    /// paths must agree; one is enough.
    pub(crate) paths: Vec<Box<str>>,
    comparison: Comparison,
}

/// When two values are the same.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Text,
    /// Descriptors are the same in any case.
    AnyCase,
    Number,
    /// A time of day may follow, if it is midnight, in whatever zone.
    Date,
    /// One in any zone is as good as in UTC; zeros at the end of a fraction say nothing.
    Datetime,
}

impl Identity {
    /// What a document says of a resource, if it does.
    pub(super) fn of<'a>(
        resolver: Resolver<'a>,
        schema: &'a Value,
        params: &[Parameter<'_>],
        record: Option<&Record>,
    ) -> Option<Self> {
        let places = places(resolver, &resolver.members(schema), params, record);
        let fields = match params.iter().any(|param| param.is_identity) {
            true => by_parameters(&places, params)?,
            false => by_properties(&places, params)?,
        };
        Some(Self::new(fields))
    }

    /// The key of every descriptor.
    pub(crate) fn of_descriptor() -> Self {
        let field = |name: &str| KeyField {
            param: name.into(),
            paths: vec![name.into()],
            comparison: Comparison::AnyCase,
        };
        Self::new(DESCRIPTOR_KEY.map(field).into())
    }

    /// A key that is known by the paths of its values alone.
    pub(crate) fn of_paths<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let field = |path: &str| KeyField {
            param: last(path).into(),
            paths: vec![path.into()],
            comparison: Comparison::of(path, None),
        };
        Self::new(paths.into_iter().map(field).collect())
    }

    fn new(mut fields: Vec<KeyField>) -> Self {
        // The same key from documents that list their parameters in another order.
        fields.sort_by(|one, two| one.param.cmp(&two.param));
        let paths = fields.iter().flat_map(|field| &field.paths);
        Self {
            picker: Picker::new(paths.map(AsRef::as_ref)),
            fields,
        }
    }

    /// Whether each part has a parameter of its own. Where paths alone are known, two parts may end
    /// in the same name (`programReference.educationOrganizationId` beside another one), by which no
    /// server could tell them apart.
    pub(crate) fn can_be_asked_for(&self) -> bool {
        let mut pairs = self.fields.windows(2);
        pairs.all(|pair| !pair[0].param.eq_ignore_ascii_case(&pair[1].param))
    }

    /// The parts of the key, by the names of their parameters.
    pub(crate) fn fields(&self) -> &[KeyField] {
        &self.fields
    }

    /// The key of a JSON object as text that can be compared: a JSON array of strings. Numbers
    /// are compared by value, descriptors in any case, dates and other texts as they are written.
    ///
    /// # Errors
    /// What is the matter, as a sentence without values: no JSON object, nothing at
    /// `studentReference.studentUniqueId`, two values that do not agree.
    #[allow(dead_code, reason = "journals and sends compare keys by it")]
    pub(crate) fn key(&self, json: &[u8]) -> Result<String, String> {
        Ok(self.canonical(&self.values(json)?))
    }

    /// The values of a JSON object's key as they are written, in the order of
    /// [`fields`](Self::fields).
    pub(crate) fn values(&self, json: &[u8]) -> Result<Vec<String>, String> {
        let values = self.values_of(self.picker.of_object(json)?);
        values.map_err(|why| why.to_string())
    }

    /// The paths of all fields, in the order that [`values_of`](Self::values_of) takes.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.fields.iter().flat_map(|field| &field.paths);
        paths.map(AsRef::as_ref)
    }

    /// The query parameters that ask for these values.
    pub(crate) fn params(&self, values: &[String]) -> Vec<(String, String)> {
        let fields = self.fields.iter().zip(values);
        let params = fields.map(|(field, value)| {
            let value = match field.comparison {
                Comparison::Text | Comparison::AnyCase => value.clone(),
                comparison => comparison.canonical(value),
            };
            (field.param.to_string(), value)
        });
        params.collect()
    }

    /// What [`key`](Self::key) gives, of values.
    pub(crate) fn canonical<T: AsRef<str>>(&self, values: &[T]) -> String {
        let fields = self.fields.iter().zip(values);
        let texts = fields.map(|(field, value)| field.comparison.canonical(value.as_ref()));
        Value::from_iter(texts).to_string()
    }

    /// What values have in common that some ODS takes for one key: SQL Server compares texts in any
    /// case, and without the spaces at their end.
    pub(crate) fn folded<T: AsRef<str>>(&self, values: &[T]) -> String {
        let fields = self.fields.iter().zip(values);
        let texts = fields.map(|(field, value)| {
            let text = field.comparison.canonical(value.as_ref());
            text.trim_end_matches(' ').to_lowercase()
        });
        Value::from_iter(texts).to_string()
    }
}

impl KeyField {
    /// A part that stands at these places, if there are any.
    pub(super) fn at(param: &str, mut places: Vec<&Place<'_>>) -> Option<Self> {
        places.sort_by_key(|place| !place.is_required);
        Some(Self {
            param: param.into(),
            comparison: Comparison::of(param, places.first()?.kind),
            paths: places
                .iter()
                .map(|place| place.path.as_str().into())
                .collect(),
        })
    }

    /// Whether two values are the same.
    pub(crate) fn is_same(&self, one: &str, two: &str) -> bool {
        one == two || self.comparison.canonical(one) == self.comparison.canonical(two)
    }
}

impl Comparison {
    fn of(path: &str, kind: Option<&Kind>) -> Self {
        match kind {
            Some(Kind::Int32 | Kind::Int64 | Kind::Float64) => Self::Number,
            Some(Kind::Date) => Self::Date,
            Some(Kind::Datetime) => Self::Datetime,
            _ if path.ends_with("Descriptor") => Self::AnyCase,
            _ => Self::Text,
        }
    }

    fn canonical(self, value: &str) -> String {
        match self {
            Self::Text => value.to_owned(),
            Self::AnyCase => value.to_lowercase(),
            Self::Number => number(value),
            Self::Date => date(value).to_owned(),
            Self::Datetime => datetime(value),
        }
    }
}

/// A number as its shortest text; whatever is none as it is.
fn number(text: &str) -> String {
    if let Ok(whole) = text.parse::<i128>() {
        return whole.to_string();
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            // `-0` is no other number than `0`.
            (number + 0.0).to_string()
        }
        _ => text.to_owned(),
    }
}

/// A point in time as its shortest text, in whatever way it is written; nothing where it is none.
#[cfg(feature = "python")]
pub(crate) fn time(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_time = bytes.len() > 18
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && (bytes[4], bytes[7], bytes[13], bytes[16]) == (b'-', b'-', b':', b':');
    is_time.then(|| {
        let time = datetime(text);
        date(&time).to_owned()
    })
}

fn date(text: &str) -> &str {
    let (Some(day), Some(rest)) = (text.get(..10), text.get(10..)) else {
        return text;
    };
    let time = rest.strip_prefix(['T', 't', ' ']).map(|time| {
        match has_offset(text) && in_utc(text).is_some() {
            // A day begins at midnight wherever it is said.
            true => time.split(['+', '-']).next().unwrap_or(time),
            false => without_zone(time),
        }
    });
    match time.map(|time| time.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.'))) {
        Some(true) => day,
        Some(false) | None => text,
    }
}

fn datetime(text: &str) -> String {
    let utc = match has_offset(text) {
        true => in_utc(text),
        false => None,
    };
    let plain = without_zone(utc.as_deref().unwrap_or(text));
    let plain = match plain.split_once('.') {
        Some((seconds, fraction)) => match fraction.trim_end_matches('0') {
            "" => seconds.to_owned(),
            fraction => format!("{seconds}.{fraction}"),
        },
        None => plain.to_owned(),
    };
    plain.replacen([' ', 't'], "T", 1)
}

/// Whether an offset follows the time of day.
fn has_offset(text: &str) -> bool {
    let end = text.get("YYYY-MM-DDTHH:MM".len()..);
    end.is_some_and(|end| end.contains(['+', '-']))
}

/// ODSs write times as UTC, with or without saying so.
fn without_zone(text: &str) -> &str {
    let zones = ["Z", "z", "+00:00"];
    let mut plain = zones.iter().filter_map(|zone| text.strip_suffix(zone));
    plain.next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::io::Read;
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::super::{Document, Resource};
    use super::Identity;

    /// Real Ed-Fi data beside the project, if it is there.
    fn shared_data() -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
        if !folder.is_dir() {
            println!("skipped: there is no folder ../shared/data beside the project");
            return None;
        }
        Some(folder)
    }

    fn document(data: &Path, name: &str) -> (Value, Document) {
        let text = std::fs::read(data.join("openapi").join(name)).expect("a file");
        let root = serde_json::from_slice(&text).expect("JSON");
        let document = Document::of(&root).expect("a document");
        (root, document)
    }

    fn identity(resource: &Resource) -> &Identity {
        let identity = resource.identity.as_deref();
        identity.unwrap_or_else(|| panic!("{} has no key", resource.endpoint))
    }

    /// The parameters of a collection that its document flags.
    fn flagged(root: &Value, endpoint: &str) -> HashSet<String> {
        let get = &root["paths"][format!("/{endpoint}")]["get"];
        let parameters = get["parameters"].as_array().expect("parameters").iter();
        let parameters = parameters.map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => root.pointer(&reference[1..]).expect("a parameter"),
            None => parameter,
        });
        let flagged = parameters.filter(|parameter| parameter["x-Ed-Fi-isIdentity"] == true);
        let names = flagged.map(|parameter| parameter["name"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_resource_of_real_documents_has_the_key_that_its_parameters_say() {
        let Some(data) = shared_data() else { return };
        for (name, count) in [
            ("resources-ds-5.0.json", 143),
            ("resources-ds-6.0.json", 187),
            ("swagger2-ods-5.3-resources-ds3.3-tpdm.json", 129),
            ("descriptor-api-5.0.json", 218),
        ] {
            let (root, document) = document(&data, name);
            assert_eq!(document.resources().len(), count, "{name}");
            for resource in document.resources() {
                let (identity, endpoint) = (identity(resource), &resource.endpoint);
                let names = identity.fields.iter().map(|field| field.param.to_string());
                let names: HashSet<String> = names.collect();
                let expected = match resource.is_descriptor() {
                    true => ["namespace", "codeValue"].map(str::to_owned).into(),
                    false => flagged(&root, endpoint),
                };
                assert_eq!(names, expected, "{name} {endpoint}");
                let record = resource.record.as_ref().expect("a record");
                let mut seen = HashSet::new();
                for path in identity.paths() {
                    assert!(record.at(path).is_some(), "{name} {endpoint} {path}");
                    assert!(seen.insert(path), "{name} {endpoint} {path}");
                }
            }
        }
    }

    #[test]
    fn where_the_parts_of_real_keys_stand() {
        let Some(data) = shared_data() else { return };
        let (_, ds5) = document(&data, "resources-ds-5.0.json");
        let (_, ds6) = document(&data, "resources-ds-6.0.json");
        let (_, ds3) = document(&data, "swagger2-ods-5.3-resources-ds3.3-tpdm.json");
        let [alone, merged] = [
            "sectionReference.schoolId",
            "gradingPeriodReference.schoolId",
        ];
        for (document, endpoint, param, paths) in [
            (
                &ds5,
                "studentProgramAssociations",
                "programEducationOrganizationId",
                &["programReference.educationOrganizationId"][..],
            ),
            (
                &ds5,
                "studentProgramAssociations",
                "educationOrganizationId",
                &["educationOrganizationReference.educationOrganizationId"],
            ),
            (
                &ds5,
                "sections",
                "schoolId",
                &["courseOfferingReference.schoolId"],
            ),
            (
                &ds5,
                "graduationPlans",
                "graduationSchoolYear",
                &["graduationSchoolYearTypeReference.schoolYear"],
            ),
            (
                &ds5,
                "studentCompetencyObjectives",
                "objectiveEducationOrganizationId",
                &["objectiveCompetencyObjectiveReference.educationOrganizationId"],
            ),
            (
                &ds5,
                "studentCompetencyObjectives",
                "objective",
                &["objectiveCompetencyObjectiveReference.objective"],
            ),
            (
                &ds5,
                "studentAssessmentEducationOrganizationAssociations",
                "assessmentIdentifier",
                &["studentAssessmentReference.assessmentIdentifier"],
            ),
            (
                &ds5,
                "studentSchoolAssociations",
                "schoolId",
                &["schoolReference.schoolId", "calendarReference.schoolId"],
            ),
            (
                &ds5,
                "grades",
                "gradingPeriodSchoolYear",
                &["gradingPeriodReference.schoolYear"],
            ),
            (
                &ds5,
                "grades",
                "schoolId",
                &[
                    "gradingPeriodReference.schoolId",
                    "studentSectionAssociationReference.schoolId",
                ],
            ),
            (
                &ds6,
                "certificationExamResults",
                "namespace",
                &["certificationExamReference.namespace"],
            ),
            (&ds3, "gradebookEntries", "schoolId", &[alone, merged]),
            (
                &ds3,
                "reportCards",
                "gradingPeriodSequence",
                &["gradingPeriodReference.periodSequence"],
            ),
        ] {
            let resource = document
                .resource(&format!("ed-fi/{endpoint}"))
                .expect(endpoint);
            let mut fields = identity(resource).fields.iter();
            let field = fields.find(|field| *field.param == *param).expect(param);
            let found: Vec<&str> = field.paths.iter().map(AsRef::as_ref).collect();
            assert_eq!(found, paths, "{endpoint} {param}");
        }
        let prescriptions = ds5
            .resource("ed-fi/interventionStudies")
            .expect("a resource");
        let needless = |path: &str| path.starts_with("interventionPrescriptionReference");
        assert!(!identity(prescriptions).paths().any(needless));
    }

    #[test]
    fn real_records_differ_in_their_keys() {
        let Some(data) = shared_data() else { return };
        let (_, document) = document(&data, "resources-ds-5.0.json");
        let mut count = 0;
        for entry in std::fs::read_dir(data.join("records/grandbend")).expect("a folder") {
            let path = entry.expect("a file").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            let endpoint = format!("ed-fi/{}", name.trim_end_matches(".jsonl.gz"));
            let identity = identity(document.resource(&endpoint).expect("a resource"));
            let file = std::fs::File::open(&path).expect("a file");
            let mut text = String::new();
            let read = flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text);
            read.expect("text");
            let mut seen = HashMap::new();
            for line in text.lines() {
                let key = identity.key(line.as_bytes()).expect(line);
                let before = seen.insert(key, line);
                assert!(
                    before.is_none_or(|before| before == line),
                    "{endpoint} {before:?} {line}"
                );
                count += 1;
            }
        }
        assert_eq!(count, 17_089);
    }

    /// A resource with references, of a document in either format.
    fn made(flag_parameters: bool, flag_references: bool) -> Resource {
        let parameter = |name: &str, is_key: bool| json!({"name": name, "in": "query", "x-Ed-Fi-isIdentity": is_key && flag_parameters});
        let reference = |name: &str| json!({"allOf": [{"$ref": format!("#/components/schemas/EdFi_{name}_Reference")}], "x-Ed-Fi-isIdentity": flag_references});
        let root = json!({
            "paths": {"/ed-fi/visits": {"get": {
                "parameters": [
                    parameter("visitDate", true), parameter("schoolId", true),
                    parameter("reportedSchoolId", false), parameter("number", true),
                    parameter("reasonDescriptor", true), parameter("at", true)],
                "responses": {"200": {"content": {"application/json": {"schema":
                    {"type": "array", "items": {"$ref": "#/components/schemas/EdFi_Visit"}}}}}}}}},
            "components": {"schemas": {
                "EdFi_School_Reference": {"properties": {"schoolId": {"type": "integer"}, "link": {"type": "object", "properties": {"rel": {"type": "string"}}}}},
                "EdFi_Session_Reference": {"properties": {"schoolId": {"type": "integer"}}},
                "EdFi_Visit": {"required": ["schoolReference"], "properties": {
                    "sessionReference": reference("Session"),
                    "schoolReference": reference("School"),
                    "reportedSchoolReference": {"$ref": "#/components/schemas/EdFi_School_Reference"},
                    "visitDate": {"type": "string", "format": "date", "x-Ed-Fi-isIdentity": true},
                    "at": {"type": "string", "format": "date-time", "x-Ed-Fi-isIdentity": true},
                    "number": {"type": "number", "x-Ed-Fi-isIdentity": true},
                    "reasonDescriptor": {"type": "string", "x-Ed-Fi-isIdentity": true}}}}}
        });
        let document = Document::of(&root).expect("a document");
        let resource = document.resource("ed-fi/visits").expect("a resource");
        (**resource).clone()
    }

    fn visit() -> Value {
        json!({"visitDate": "2024-08-01", "at": "2024-08-01T10:00:00Z", "number": 7,
            "reasonDescriptor": "uri://a#B", "schoolReference": {"schoolId": 5},
            "reportedSchoolReference": {"schoolId": 9}})
    }

    #[test]
    fn one_item_in_other_words_has_the_same_key() {
        for resource in [made(true, false), made(false, true), made(true, true)] {
            let identity = identity(&resource);
            let key = |body: &Value| identity.key(body.to_string().as_bytes());
            let expected = r#"["2024-08-01T10:00:00","7","uri://a#b","5","2024-08-01"]"#;
            assert_eq!(key(&visit()).as_deref(), Ok(expected));
            for (pointer, value) in [
                ("/visitDate", json!("2024-08-01T00:00:00Z")),
                ("/at", json!("2024-08-01T10:00:00.000")),
                ("/at", json!("2024-08-01 10:00:00+00:00")),
                ("/at", json!("2024-08-01T04:00:00.0-06:00")),
                ("/at", json!("2024-08-01 15:30:00.000000+0530")),
                ("/visitDate", json!("2024-08-01 00:00:00.000-06:00")),
                ("/number", json!(7.0)),
                ("/number", json!("7")),
                ("/reasonDescriptor", json!("URI://A#b")),
                ("/reportedSchoolReference", Value::Null),
                (
                    "/schoolReference",
                    json!({"schoolId": 5, "link": {"rel": "x"}}),
                ),
            ] {
                let mut body = visit();
                *body.pointer_mut(pointer).expect("a value") = value.clone();
                assert_eq!(key(&body).as_deref(), Ok(expected), "{pointer} {value}");
            }
            for (pointer, value) in [
                ("/visitDate", json!("2024-08-01T00:00:01Z")),
                ("/visitDate", json!("2024-08-01T00:00:01-06:00")),
                ("/visitDate", json!("2024-08-01T00:00:00-nobody")),
                ("/at", json!("2024-08-01T10:00:00.001")),
                ("/at", json!("2024-08-01T10:00:00+01:00")),
                ("/number", json!(7.5)),
                ("/reasonDescriptor", json!("uri://a#C")),
                ("/schoolReference/schoolId", json!(6)),
            ] {
                let mut body = visit();
                *body.pointer_mut(pointer).expect("a value") = value.clone();
                let other = key(&body).expect("a key");
                assert_ne!(other, expected, "{pointer} {value}");
            }
        }
    }

    #[test]
    fn merged_values_agree_and_one_is_enough() {
        let resource = made(true, false);
        let identity = identity(&resource);
        let key = |body: &Value| identity.key(body.to_string().as_bytes());
        let mut body = visit();
        body["sessionReference"] = json!({"schoolId": "5"});
        assert_eq!(key(&body), key(&visit()));
        body["schoolReference"] = Value::Null;
        assert_eq!(key(&body), key(&visit()));
        body["schoolReference"] = json!({"schoolId": 6});
        let places = "the values at schoolReference.schoolId and sessionReference.schoolId";
        assert_eq!(key(&body), Err(format!("{places} do not agree")));
        let missing = "no value at schoolReference.schoolId or sessionReference.schoolId";
        body["schoolReference"] = json!({});
        body["sessionReference"] = json!([1]);
        assert_eq!(key(&body), Err(missing.to_owned()));
        body["schoolReference"] = json!({"schoolId": [5]});
        let several = "no single value at schoolReference.schoolId";
        assert_eq!(key(&body), Err(several.to_owned()));
    }

    #[test]
    fn flags_on_scalars_alone_say_too_little() {
        assert_eq!(made(false, false).identity, None);
    }
}
