//! Student assessments as an ODS would serve them, from a seed of their own.

use std::ops::Range;

/// An assessment and what it is said to test.
struct Assessment {
    identifier: &'static str,
    namespace: &'static str,
    objectives: [&'static str; 4],
}

const ASSESSMENTS: [Assessment; 4] = [
    Assessment {
        identifier: "ACT Composite",
        namespace: "uri://act.org/Assessment",
        objectives: ["English", "Mathematics", "Reading", "Science"],
    },
    Assessment {
        identifier: "FastBridge aReading",
        namespace: "uri://fastbridge.org/Assessment",
        objectives: [
            "Concepts of Print",
            "Phonics",
            "Vocabulary",
            "Comprehension",
        ],
    },
    Assessment {
        identifier: "KRA-2024",
        namespace: "uri://education.ohio.gov/Assessment",
        objectives: [
            "Social Foundations",
            "Language",
            "Mathematics",
            "Motor Skills",
        ],
    },
    Assessment {
        identifier: "State Summative Grade 8",
        namespace: "uri://ed.example.gov/Assessment/Assessment.xml",
        objectives: [
            "Number Sense",
            "Geometry",
            "Algebraic Thinking",
            "Data Analysis",
        ],
    },
];
const GRADES: [&str; 6] = [
    "Kindergarten",
    "Third grade",
    "Fifth grade",
    "Eighth grade",
    "Tenth grade",
    "Eleventh grade",
];
const METHODS: [(&str, &str); 5] = [
    ("Scale score", "Integer"),
    ("Raw score", "Integer"),
    ("Percentile rank", "Percentile"),
    ("Standard error measurement", "Decimal"),
    ("Growth percentile", "Percentile"),
];
/// Levels, and whether they are enough.
const LEVELS: [(&str, &str); 4] = [
    ("Below Basic", "false"),
    ("Basic", "false"),
    ("Proficient", "true"),
    ("Advanced", "true"),
];
const ACCOMMODATIONS: [&str; 3] = ["Extended Time", "Large Print", "Read Aloud"];
const EVENTS: [&str; 3] = [
    "Fire drill during \\\"Part 2\\\"; resumed after 20 minutes",
    "Sesi\\u00f3n interrumpida \u{2013} reanudada",
    "Tablet replaced\\nbefore item 14",
];

/// All records as one text, ready to be cut into pages of any size.
pub(crate) struct Records {
    text: String,
    /// Where each record begins; one more for where the next would.
    starts: Vec<usize>,
}

impl Records {
    /// The same records for the same number, every time.
    pub(crate) fn generate(count: usize) -> Self {
        let mut text = String::with_capacity(count * 2800);
        let mut starts = Vec::with_capacity(count + 1);
        for number in 0..count {
            starts.push(text.len());
            let mut json = Json::new(&mut text, number as u64);
            json.record(number as u64);
            text.push(',');
        }
        starts.push(text.len());
        Self { text, starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The records of a range, with commas between them.
    pub(crate) fn slice(&self, range: Range<usize>) -> &str {
        let (start, end) = (self.starts[range.start], self.starts[range.end]);
        self.text[start..end].trim_end_matches(',')
    }

    /// The record of an id, as [`id`] made it.
    pub(crate) fn find(&self, id: &str) -> Option<&str> {
        let number = usize::from_str_radix(id.get(24..)?, 16).ok()? ^ ID_MASK;
        (number < self.len() && crate::records::id(number as u64) == id)
            .then(|| self.slice(number..number + 1))
    }
}

/// The last eight digits of an id are the number of the record, masked.
const ID_MASK: usize = 0x5bd1_e995;

/// The 32 hexadecimal digits by which an ODS knows a record.
pub(crate) fn id(number: u64) -> String {
    let mut random = Random(number ^ 0x1d);
    let tail = number as usize ^ ID_MASK;
    format!(
        "{:016x}{:08x}{tail:08x}",
        random.next(),
        random.next() >> 32
    )
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 32) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Writes one record.
struct Json<'a> {
    out: &'a mut String,
    random: Random,
}

impl<'a> Json<'a> {
    fn new(out: &'a mut String, number: u64) -> Self {
        let random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        Self { out, random }
    }

    fn record(&mut self, number: u64) {
        let assessment = self.random.below(4) as usize;
        let assessment = &ASSESSMENTS[assessment];
        let year = 2022 + self.random.below(4);
        let (month, day) = (1 + self.random.below(12), 1 + self.random.below(28));
        let date = format!("{year}-{month:02}-{day:02}");
        self.open("", '{');
        self.text("id", &id(number));
        self.open("assessmentReference", '{');
        self.text("assessmentIdentifier", assessment.identifier);
        self.text("namespace", assessment.namespace);
        self.link("Assessment", "assessments");
        self.close('}');
        if !self.random.one_in(8) {
            self.open("reportedSchoolReference", '{');
            let school = 255_901_000 + self.random.below(300);
            self.raw("schoolId", &school.to_string());
            self.link("School", "schools");
            self.close('}');
        }
        self.open("schoolYearTypeReference", '{');
        self.raw("schoolYear", &year.to_string());
        self.link("SchoolYearType", "schoolYearTypes");
        self.close('}');
        self.open("studentReference", '{');
        self.text("studentUniqueId", &(600_000 + number / 3).to_string());
        self.link("Student", "students");
        self.close('}');
        let identifier = id(self.random.next() >> 32);
        self.text("studentAssessmentIdentifier", &identifier);
        self.text("administrationDate", &format!("{date}T14:05:00Z"));
        self.descriptor(
            "administrationEnvironment",
            "AdministrationEnvironment",
            "Classroom",
        );
        self.descriptor("administrationLanguage", "Language", "eng");
        if !self.random.one_in(4) {
            let minutes = 20 + self.random.below(100);
            self.raw("assessedMinutes", &minutes.to_string());
        }
        if self.random.one_in(50) {
            let event = self.random.pick(&EVENTS);
            self.text("eventDescription", event);
        }
        let grade = self.random.pick(&GRADES);
        self.descriptor("whenAssessedGradeLevel", "GradeLevel", grade);
        self.open("accommodations", '[');
        let accommodations = self.random.below(6).saturating_sub(3) as usize;
        for name in &ACCOMMODATIONS[..accommodations] {
            self.open("", '{');
            self.descriptor("accommodation", "Accommodation", name);
            self.close('}');
        }
        self.close(']');
        self.performance_levels(1);
        let scores = 2 + self.random.below(3) as usize;
        self.score_results(scores);
        let objectives = self.random.below(3) as usize;
        self.open("studentObjectiveAssessments", '[');
        for objective in &assessment.objectives[..objectives] {
            self.open("", '{');
            self.open("objectiveAssessmentReference", '{');
            self.text("assessmentIdentifier", assessment.identifier);
            self.text("identificationCode", objective);
            self.text("namespace", assessment.namespace);
            self.link("ObjectiveAssessment", "objectiveAssessments");
            self.close('}');
            let levels = self.random.below(2);
            self.performance_levels(levels);
            self.score_results(1);
            self.close('}');
        }
        self.close(']');
        let etag = 5_250_000_000_000_000_000 + self.random.below(1 << 32);
        self.text("_etag", &etag.to_string());
        let ticks = self.random.below(10_000_000);
        self.text("_lastModifiedDate", &format!("{date}T16:22:05.{ticks:07}Z"));
        self.close('}');
    }

    fn performance_levels(&mut self, count: u64) {
        self.open("performanceLevels", '[');
        for _ in 0..count {
            let (level, met) = self.random.pick(&LEVELS);
            self.open("", '{');
            let method = "Proficiency level";
            self.descriptor(
                "assessmentReportingMethod",
                "AssessmentReportingMethod",
                method,
            );
            self.descriptor("performanceLevel", "PerformanceLevel", level);
            self.raw("performanceLevelMet", met);
            self.close('}');
        }
        self.close(']');
    }

    fn score_results(&mut self, count: usize) {
        self.open("scoreResults", '[');
        for (method, datatype) in &METHODS[..count] {
            self.open("", '{');
            self.descriptor(
                "assessmentReportingMethod",
                "AssessmentReportingMethod",
                method,
            );
            self.descriptor("resultDatatypeType", "ResultDatatypeType", datatype);
            let decimals = if *datatype == "Decimal" { ".5" } else { "" };
            let result = self.random.below(900);
            self.text("result", &format!("{result}{decimals}"));
            self.close('}');
        }
        self.close(']');
    }

    fn link(&mut self, rel: &str, resource: &str) {
        let target = id(self.random.below(5000));
        self.open("link", '{');
        self.text("rel", rel);
        self.text("href", &format!("/ed-fi/{resource}/{target}"));
        self.close('}');
    }

    fn descriptor(&mut self, name: &str, of: &str, value: &str) {
        let uri = format!("uri://ed-fi.org/{of}Descriptor#{value}");
        self.text(&format!("{name}Descriptor"), &uri);
    }

    /// The value is written as it is: what needs an escape has it.
    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &format!("\"{value}\""));
    }

    fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push_str(value);
    }

    fn open(&mut self, name: &str, bracket: char) {
        self.name(name);
        self.out.push(bracket);
    }

    fn close(&mut self, bracket: char) {
        self.out.push(bracket);
    }

    /// What stands before a value; elements of arrays have no name, and neither has the record.
    fn name(&mut self, name: &str) {
        if !self.out.is_empty() && !self.out.ends_with(['{', '[', ',']) {
            self.out.push(',');
        }
        if !name.is_empty() {
            self.out.push('"');
            self.out.push_str(name);
            self.out.push_str("\":");
        }
    }
}
