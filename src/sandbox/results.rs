//! Student assessments: four kinds of tests, and what students made of them.

use std::fmt::Write;

use fastrand::Rng;

use super::clock;
use super::district::random;
use super::generate::{Target, World, chance, key, pick};
use super::load::{EPOCH, Loader};
use super::store::id_text;
use super::words::{GRADES, LEVELS};

/// The namespace of the sandbox's assessments.
pub(super) const NAMESPACE: &str = "uri://ed-fi.org/Assessment";

/// A test that students take.
pub(super) struct AssessmentKind {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    subject: &'static str,
    /// Lowest and highest scale score.
    scale: (u32, u32),
    /// Highest raw score.
    pub(super) raw: u32,
    pub(super) parts: &'static [&'static str],
    /// How many times a year it is given.
    windows: &'static [(&'static str, u64)],
}

/// Days from 2024-08-01 on which a window of testing opens.
const YEARLY: [(&str, u64); 1] = [("Spring", 260)];
const BENCHMARKS: [(&str, u64); 3] = [("Fall", 40), ("Winter", 170), ("Spring", 275)];

/// The tests of every district.
pub(super) const KINDS: [AssessmentKind; 4] = [
    AssessmentKind {
        id: "STATE-ELA",
        title: "State Assessment of English Language Arts",
        subject: "English Language Arts",
        scale: (1200, 1800),
        raw: 60,
        parts: &["Reading", "Writing", "Listening"],
        windows: &YEARLY,
    },
    AssessmentKind {
        id: "STATE-MATH",
        title: "State Assessment of Mathematics",
        subject: "Mathematics",
        scale: (1200, 1800),
        raw: 56,
        parts: &[
            "Number and Operations",
            "Algebraic Thinking",
            "Geometry",
            "Data",
        ],
        windows: &YEARLY,
    },
    AssessmentKind {
        id: "BENCHMARK-READING",
        title: "Reading Benchmark",
        subject: "Reading",
        scale: (140, 290),
        raw: 40,
        parts: &["Fluency", "Comprehension"],
        windows: &BENCHMARKS,
    },
    AssessmentKind {
        id: "STATE-SCIENCE",
        title: "State Assessment of Science",
        subject: "Science",
        scale: (200, 400),
        raw: 48,
        parts: &["Life Science", "Physical Science"],
        windows: &YEARLY,
    },
];

impl AssessmentKind {
    /// The members of the assessment itself.
    pub(super) fn members(&self) -> String {
        let (low, high) = self.scale;
        format!(
            r##""assessmentIdentifier":"{}","namespace":"{NAMESPACE}","academicSubjects":[{{"academicSubjectDescriptor":"uri://ed-fi.org/AcademicSubjectDescriptor#{}"}}],"assessmentTitle":"{}","assessmentVersion":2024,"adaptiveAssessment":{},"maxRawScore":{}.0,"revisionDate":"2024-03-12","scores":[{{"assessmentReportingMethodDescriptor":"{SCALE}","resultDatatypeTypeDescriptor":"uri://ed-fi.org/ResultDatatypeTypeDescriptor#Integer","minimumScore":"{low}","maximumScore":"{high}"}}]"##,
            self.id,
            self.subject,
            self.title,
            self.windows.len() > 1,
            self.raw,
        )
    }
}

const SCALE: &str = "uri://ed-fi.org/AssessmentReportingMethodDescriptor#Scale score";
const RAW: &str = "uri://ed-fi.org/AssessmentReportingMethodDescriptor#Raw score";
const PERCENTILE: &str = "uri://ed-fi.org/AssessmentReportingMethodDescriptor#Percentile rank";
const LEVEL: &str = "uri://ed-fi.org/AssessmentReportingMethodDescriptor#Proficiency level";
const EVENTS: [&str; 3] = [
    "Fire drill – testing resumed after 15 minutes",
    "Student said \\\"I feel ill\\\" and finished on the next day",
    "Network outage",
];

/// Adds `count` student assessments.
pub(super) fn fill(world: &World<'_>, count: usize) {
    let mut random = random(world.seed, &world.district.id, "studentAssessments");
    let mut loader = Loader::new(world.district, "ed-fi/studentAssessments");
    for index in 0..count {
        let student = &world.students[random.usize(..world.students.len())];
        let which = random.usize(..KINDS.len());
        let kind = &KINDS[which];
        let assessment = &world.assessments[which];
        let school = &world.schools[student.school];
        let year = world.year(2025);
        let identifier = id_text(random.u128(..));
        let (window, opens) = pick(&mut random, kind.windows);
        let at = EPOCH + (opens + random.u64(..20)) * 86_400 + random.u64(29_000..54_000) / 60 * 60;
        let skill = (random.f64() + random.f64()) / 2.0;

        let mut text = format!(
            r##""studentAssessmentIdentifier":"{identifier}","assessmentReference":{},"schoolYearTypeReference":{},"studentReference":{}"##,
            assessment.reference(world.links),
            year.reference(world.links),
            student.target.reference(world.links),
        );
        let mut refers_to = vec![assessment.digest, year.digest, student.target.digest];
        if chance(&mut random, 80) {
            let _ = write!(
                text,
                r#","reportedSchoolReference":{}"#,
                school.reference(world.links)
            );
            refers_to.push(school.digest);
        }
        let _ = write!(text, r#","administrationDate":"{}""#, clock::date_time(at));
        let minutes = random.u64(25..110);
        if chance(&mut random, 30) {
            let end = clock::date_time(at + minutes * 60);
            let _ = write!(text, r#","administrationEndDate":"{end}""#);
        }
        if chance(&mut random, 70) {
            let _ = write!(text, r#","assessedMinutes":{minutes}"#);
        }
        let _ = write!(
            text,
            r##","administrationEnvironmentDescriptor":"uri://ed-fi.org/AdministrationEnvironmentDescriptor#{}""##,
            pick(&mut random, &["Classroom", "Classroom", "Testing Center"]),
        );
        if chance(&mut random, 3) {
            let event = pick(&mut random, &EVENTS);
            let _ = write!(text, r#","eventDescription":"{event}""#);
        }
        if kind.windows.len() > 1 {
            let _ = write!(
                text,
                r##","period":{{"assessmentPeriodDescriptor":"uri://ed-fi.org/AssessmentPeriodDescriptor#{window}"}}"##
            );
        }
        if chance(&mut random, 60) {
            let _ = write!(
                text,
                r#","serialNumber":"{}""#,
                random.u32(1_000_000..10_000_000)
            );
        }
        if chance(&mut random, 10) {
            text.push_str(r##","retestIndicatorDescriptor":"uri://ed-fi.org/RetestIndicatorDescriptor#1st Retest""##);
        }
        let _ = write!(
            text,
            r##","whenAssessedGradeLevelDescriptor":"uri://ed-fi.org/GradeLevelDescriptor#{}""##,
            GRADES[student.grade],
        );
        if chance(&mut random, 5) {
            text.push_str(r##","accommodations":[{"accommodationDescriptor":"uri://ed-fi.org/AccommodationDescriptor#Extended time"}]"##);
        }
        // Some students did not take the test: there is a record, but no result.
        if chance(&mut random, 3) {
            text.push_str(r##","reasonNotTestedDescriptor":"uri://ed-fi.org/ReasonNotTestedDescriptor#Absent""##);
        } else {
            scores(&mut text, &mut random, kind, skill);
            if chance(&mut random, 50) {
                let objectives = &world.objectives[which];
                parts(&mut text, &mut random, kind, objectives, skill, world.links);
                refers_to.extend(objectives.iter().map(|part| part.digest));
            }
        }
        let natural_key = key(&[kind.id, NAMESPACE, &identifier, &student.id]);
        loader.add(&natural_key, &text, EPOCH + index as u64, refers_to);
    }
    loader.finish([]);
}

fn score(method: &str, datatype: &str, result: &str) -> String {
    format!(
        r##"{{"assessmentReportingMethodDescriptor":"{method}","resultDatatypeTypeDescriptor":"uri://ed-fi.org/ResultDatatypeTypeDescriptor#{datatype}","result":"{result}"}}"##
    )
}

fn level(skill: f64) -> String {
    let name = LEVELS[((skill * LEVELS.len() as f64) as usize).min(LEVELS.len() - 1)];
    format!(
        r##"{{"assessmentReportingMethodDescriptor":"{LEVEL}","performanceLevelDescriptor":"uri://ed-fi.org/PerformanceLevelDescriptor#{name}","performanceLevelIndicatorName":"Overall"}}"##
    )
}

fn scaled((low, high): (u32, u32), skill: f64) -> u32 {
    low + (f64::from(high - low) * skill) as u32
}

fn scores(text: &mut String, random: &mut Rng, kind: &AssessmentKind, skill: f64) {
    let mut list = vec![score(
        SCALE,
        "Integer",
        &scaled(kind.scale, skill).to_string(),
    )];
    if chance(random, 75) {
        list.push(score(
            RAW,
            "Integer",
            &scaled((0, kind.raw), skill).to_string(),
        ));
    }
    if chance(random, 60) {
        list.push(score(
            PERCENTILE,
            "Percentile",
            &format!("{:.1}", skill * 99.0 + 0.5),
        ));
    }
    let _ = write!(text, r#","scoreResults":[{}]"#, list.join(","));
    if chance(random, 85) {
        let _ = write!(text, r#","performanceLevels":[{}]"#, level(skill));
    }
}

fn parts(
    text: &mut String,
    random: &mut Rng,
    kind: &AssessmentKind,
    objectives: &[Target],
    skill: f64,
    links: bool,
) {
    let list: Vec<_> = objectives
        .iter()
        .map(|objective| {
            let own = (skill + (random.f64() - 0.5) / 4.0).clamp(0.0, 0.999);
            let mut part = format!(
                r#"{{"objectiveAssessmentReference":{}"#,
                objective.reference(links)
            );
            if chance(random, 80) {
                let result = scaled((0, kind.raw / objectives.len() as u32), own);
                let _ = write!(
                    part,
                    r#","scoreResults":[{}]"#,
                    score(RAW, "Integer", &result.to_string())
                );
            }
            if chance(random, 50) {
                let _ = write!(part, r#","performanceLevels":[{}]"#, level(own));
            }
            part + "}"
        })
        .collect();
    let _ = write!(
        text,
        r#","studentObjectiveAssessments":[{}]"#,
        list.join(",")
    );
}
