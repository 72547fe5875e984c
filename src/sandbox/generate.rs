//! The sandbox's own records: schools, students and assessments, the same for the same seed and district.

use std::fmt::Write;

use fastrand::Rng;

use super::clock;
use super::definitions::pascal;
use super::district::{District, random};
use super::load::{EPOCH, Loader};
use super::results::{self, AssessmentKind, KINDS, NAMESPACE};
use super::store::{digest_of, id_text};
use super::words::{self, FIRST, GRADES, LAST, PLACES, SCHOOLS, SEXES};

/// Where a generated item can be found by those that refer to it.
pub(super) struct Target {
    /// The reference's members without braces: `"studentUniqueId":"604854"`.
    pub(super) members: String,
    rel: &'static str,
    endpoint: &'static str,
    key_text: String,
    pub(super) digest: u128,
}

impl Target {
    fn new(
        district: &District,
        endpoint: &'static str,
        rel: &'static str,
        key: &str,
        members: String,
    ) -> Self {
        Self {
            members,
            rel,
            endpoint,
            key_text: key.to_owned(),
            digest: digest_of(&district.id, endpoint, key),
        }
    }

    /// The reference as an object, with its link where `links` says so.
    pub(super) fn reference(&self, links: bool) -> String {
        let (members, rel, endpoint) = (&self.members, self.rel, self.endpoint);
        if !links {
            return format!("{{{members}}}");
        }
        let id = id_text(self.digest);
        format!(r#"{{{members},"link":{{"rel":"{rel}","href":"/{endpoint}/{id}"}}}}"#)
    }
}

/// A generated student, as far as assessments need it.
pub(super) struct Student {
    pub(super) id: String,
    pub(super) target: Target,
    pub(super) grade: usize,
    pub(super) school: usize,
}

/// What the results of a district are made from.
pub(super) struct World<'a> {
    pub(super) district: &'a District,
    pub(super) seed: u64,
    pub(super) links: bool,
    pub(super) years: Vec<Target>,
    pub(super) schools: Vec<Target>,
    pub(super) students: Vec<Student>,
    pub(super) assessments: Vec<Target>,
    /// By assessment, its parts.
    pub(super) objectives: Vec<Vec<Target>>,
}

/// The first school year that the sandbox knows; there are 61.
const FIRST_YEAR: u32 = 1990;

/// Fills the district: descriptors and school years, as any ODS has them, then `records` student assessments
/// and what they need.
pub(super) fn fill(district: &District, seed: u64, records: usize, links: bool) {
    descriptors(district);
    let mut world = World {
        district,
        seed,
        links,
        years: Vec::new(),
        schools: Vec::new(),
        students: Vec::new(),
        assessments: Vec::new(),
        objectives: Vec::new(),
    };
    world.school_years();
    if records == 0 {
        return;
    }
    world.make_schools();
    world.make_students((records / 4).max(1));
    world.make_enrolments();
    world.make_assessments();
    results::fill(&world, records);
}

fn descriptors(district: &District) {
    for (name, codes) in words::descriptors() {
        let kind = pascal(name);
        let mut loader = Loader::new(district, &format!("ed-fi/{name}Descriptors"));
        for code in codes {
            let namespace = format!("uri://ed-fi.org/{kind}Descriptor");
            let members = format!(
                r#""codeValue":"{code}","description":"{code}","namespace":"{namespace}","shortDescription":"{code}""#
            );
            loader.add(&key(&[code, &namespace]), &members, EPOCH, Vec::new());
        }
        loader.finish([]);
    }
}

/// The text of a natural key of these parts, in the order of their names, as the store makes it.
pub(super) fn key(parts: &[&str]) -> String {
    parts
        .iter()
        .fold(String::new(), |text, part| text + part + "\u{1f}")
}

/// One of several.
pub(super) fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// Whether something happens that happens so often in a hundred.
pub(super) fn chance(random: &mut Rng, percent: u32) -> bool {
    random.u32(..100) < percent
}

impl World<'_> {
    fn school_years(&mut self) {
        let mut loader = Loader::new(self.district, "ed-fi/schoolYearTypes");
        for year in FIRST_YEAR..=FIRST_YEAR + 60 {
            let text = year.to_string();
            let members = format!(
                r#""schoolYear":{year},"currentSchoolYear":{},"schoolYearDescription":"{}-{year}""#,
                year == 2025,
                year - 1,
            );
            loader.add(&key(&[&text]), &members, EPOCH, Vec::new());
            let inner = format!(r#""schoolYear":{year}"#);
            let target = Target::new(
                self.district,
                "ed-fi/schoolYearTypes",
                "SchoolYearType",
                &key(&[&text]),
                inner,
            );
            self.years.push(target);
        }
        loader.finish([]);
    }

    /// The reference to a school year.
    pub(super) fn year(&self, year: u32) -> &Target {
        &self.years[(year - FIRST_YEAR) as usize]
    }

    fn make_schools(&mut self) {
        let mut random = random(self.seed, &self.district.id, "schools");
        let agency = match self.district.id.parse::<u64>() {
            Ok(number @ 1..=9_999_999) => number,
            _ => random.u64(100_000..1_000_000),
        };
        let mut places = PLACES;
        random.shuffle(&mut places);
        let district = self.make_agency(agency);
        let mut loader = Loader::new(self.district, "ed-fi/schools");
        for (index, place) in places.iter().take(random.usize(2..=4)).enumerate() {
            let (kind, category) = SCHOOLS[index];
            let id = agency * 1000 + index as u64 + 1;
            let grades: Vec<_> = grades_of(index)
                .map(|grade| {
                    format!(
                        r#"{{"gradeLevelDescriptor":"uri://ed-fi.org/GradeLevelDescriptor#{}"}}"#,
                        GRADES[grade]
                    )
                })
                .collect();
            let mut members = format!(
                r##""schoolId":{id},"nameOfInstitution":"{place} {kind}","educationOrganizationCategories":[{{"educationOrganizationCategoryDescriptor":"uri://ed-fi.org/EducationOrganizationCategoryDescriptor#School"}}],"gradeLevels":[{}],"schoolCategories":[{{"schoolCategoryDescriptor":"uri://ed-fi.org/SchoolCategoryDescriptor#{category}"}}],"localEducationAgencyReference":{}"##,
                grades.join(","),
                district.reference(self.links),
            );
            if chance(&mut random, 60) {
                let site = place.to_lowercase().replace(' ', "-");
                let _ = write!(members, r#","webSite":"https://{site}.example.org/""#);
            }
            let text = id.to_string();
            loader.add(&key(&[&text]), &members, EPOCH, vec![district.digest]);
            let inner = format!(r#""schoolId":{id}"#);
            let target = Target::new(
                self.district,
                "ed-fi/schools",
                "School",
                &key(&[&text]),
                inner,
            );
            self.schools.push(target);
        }
        loader.finish([]);
    }

    fn make_agency(&self, id: u64) -> Target {
        let endpoint = "ed-fi/localEducationAgencies";
        let natural_key = key(&[&id.to_string()]);
        let own = format!(r#""localEducationAgencyId":{id}"#);
        let members = format!(
            r##"{own},"nameOfInstitution":"District {id}","categories":[{{"educationOrganizationCategoryDescriptor":"uri://ed-fi.org/EducationOrganizationCategoryDescriptor#Local Education Agency"}}],"localEducationAgencyCategoryDescriptor":"uri://ed-fi.org/LocalEducationAgencyCategoryDescriptor#Regular public school district""##
        );
        let mut loader = Loader::new(self.district, endpoint);
        loader.add(&natural_key, &members, EPOCH, Vec::new());
        loader.finish([]);
        Target::new(
            self.district,
            endpoint,
            "LocalEducationAgency",
            &natural_key,
            own,
        )
    }

    /// Each student is enrolled in one school.
    fn make_enrolments(&self) {
        let mut loader = Loader::new(self.district, "ed-fi/studentSchoolAssociations");
        let entry = "2024-08-15";
        for (student, modified) in self.students.iter().zip(EPOCH..) {
            let school = &self.schools[student.school];
            let members = format!(
                r##""entryDate":"{entry}","schoolReference":{},"schoolYearTypeReference":{},"studentReference":{},"entryGradeLevelDescriptor":"uri://ed-fi.org/GradeLevelDescriptor#{}","primarySchool":true"##,
                school.reference(self.links),
                self.year(2025).reference(self.links),
                student.target.reference(self.links),
                GRADES[student.grade],
            );
            let natural_key = key(&[entry]) + &school.key_text + &student.target.key_text;
            let refers_to = vec![school.digest, self.year(2025).digest, student.target.digest];
            loader.add(&natural_key, &members, modified, refers_to);
        }
        loader.finish([]);
    }

    fn make_students(&mut self, count: usize) {
        let mut random = random(self.seed, &self.district.id, "students");
        let mut number = random.u64(100_000..900_000);
        let mut loader = Loader::new(self.district, "ed-fi/students");
        for index in 0..count {
            number += random.u64(1..4);
            let id = number.to_string();
            let school = random.usize(..self.schools.len());
            let grade = {
                let grades: Vec<_> = grades_of(school).collect();
                pick(&mut random, &grades)
            };
            // Born so many years before 2024-09-01 that the grade fits the age.
            let birth = 19_967 - (grade as u64 + 5) * 365 - random.u64(1..365);
            let mut members = format!(
                r#""studentUniqueId":"{id}","birthDate":"{}","firstName":"{}","lastSurname":"{}""#,
                clock::date(birth),
                pick(&mut random, &FIRST),
                pick(&mut random, &LAST),
            );
            if chance(&mut random, 50) {
                let _ = write!(members, r#","middleName":"{}""#, pick(&mut random, &FIRST));
            }
            if chance(&mut random, 90) {
                let sex = pick(&mut random, &SEXES);
                let _ = write!(
                    members,
                    r##","birthSexDescriptor":"uri://ed-fi.org/SexDescriptor#{sex}""##
                );
            }
            if chance(&mut random, 15) {
                let _ = write!(members, r#","multipleBirthStatus":{}"#, random.bool());
            }
            if chance(&mut random, 10) {
                let _ = write!(
                    members,
                    r##","otherNames":[{{"otherNameTypeDescriptor":"uri://ed-fi.org/OtherNameTypeDescriptor#Nickname","firstName":"{}","lastSurname":"{}"}}]"##,
                    pick(&mut random, &FIRST),
                    pick(&mut random, &LAST),
                );
            }
            loader.add(&key(&[&id]), &members, EPOCH + index as u64, Vec::new());
            let inner = format!(r#""studentUniqueId":"{id}""#);
            let target = Target::new(
                self.district,
                "ed-fi/students",
                "Student",
                &key(&[&id]),
                inner,
            );
            self.students.push(Student {
                id,
                target,
                grade,
                school,
            });
        }
        loader.finish([]);
    }

    fn make_assessments(&mut self) {
        let mut loader = Loader::new(self.district, "ed-fi/assessments");
        let mut parts = Loader::new(self.district, "ed-fi/objectiveAssessments");
        for kind in &KINDS {
            loader.add(
                &key(&[kind.id, NAMESPACE]),
                &kind.members(),
                EPOCH,
                Vec::new(),
            );
            let inner = format!(
                r#""assessmentIdentifier":"{}","namespace":"{NAMESPACE}""#,
                kind.id
            );
            let whole = key(&[kind.id, NAMESPACE]);
            let assessment = Target::new(
                self.district,
                "ed-fi/assessments",
                "Assessment",
                &whole,
                inner,
            );
            self.objectives
                .push(self.make_objectives(kind, &assessment, &mut parts));
            self.assessments.push(assessment);
        }
        loader.finish([]);
        parts.finish([]);
    }

    fn make_objectives(
        &self,
        kind: &AssessmentKind,
        assessment: &Target,
        loader: &mut Loader<'_>,
    ) -> Vec<Target> {
        let make = |part: &&str| {
            let members = format!(
                r#""identificationCode":"{part}","assessmentReference":{},"description":"{part} of {}","maxRawScore":{}.0"#,
                assessment.reference(self.links),
                kind.title,
                kind.raw / kind.parts.len() as u32,
            );
            let parts = key(&[kind.id, part, NAMESPACE]);
            loader.add(&parts, &members, EPOCH, vec![assessment.digest]);
            let inner = format!(
                r#""assessmentIdentifier":"{}","identificationCode":"{part}","namespace":"{NAMESPACE}""#,
                kind.id
            );
            Target::new(
                self.district,
                "ed-fi/objectiveAssessments",
                "ObjectiveAssessment",
                &parts,
                inner,
            )
        };
        kind.parts.iter().map(make).collect()
    }
}

/// Grades taught at the school of this number.
fn grades_of(school: usize) -> std::ops::RangeInclusive<usize> {
    match school {
        0 => 0..=5,
        1 => 6..=8,
        _ => 9..=12,
    }
}
