//! The words that the sandbox's records are made from.

/// The sandbox's own descriptors.
const DESCRIPTORS: &str = include_str!("descriptors.txt");

/// Descriptors that the sandbox has of its own, such as `gradeLevel`, and their code values.
pub(super) fn descriptors() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    DESCRIPTORS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, values)| (name, values.split("; ").collect()))
}

/// What generated students can be.
pub(super) const SEXES: [&str; 2] = ["Female", "Male"];

/// Grade levels of students, from kindergarten up.
pub(super) const GRADES: [&str; 13] = [
    "Kindergarten",
    "First grade",
    "Second grade",
    "Third grade",
    "Fourth grade",
    "Fifth grade",
    "Sixth grade",
    "Seventh grade",
    "Eighth grade",
    "Ninth grade",
    "Tenth grade",
    "Eleventh grade",
    "Twelfth grade",
];

/// Kinds of schools and their categories.
pub(super) const SCHOOLS: [(&str, &str); 4] = [
    ("Elementary School", "Elementary School"),
    ("Middle School", "Middle School"),
    ("High School", "High School"),
    ("Academy", "Alternative"),
];
/// What schools are named after.
pub(super) const PLACES: [&str; 10] = [
    "Cedar Ridge",
    "Lakeview",
    "Mission Valley",
    "Northside",
    "Oak Hollow",
    "Pecan Grove",
    "Riverbend",
    "Sunset",
    "Twin Creeks",
    "Willow Springs",
];
/// First names, not all of them ASCII.
pub(super) const FIRST: [&str; 24] = [
    "Aaliyah",
    "Amara",
    "Benjamín",
    "Carlos",
    "Chloé",
    "Daniel",
    "Elena",
    "Ethan",
    "Fatima",
    "Grace",
    "Hiro",
    "Isabella",
    "Jamal",
    "Josefina",
    "Kai",
    "Liam",
    "Mei",
    "Noah",
    "Olivia",
    "Priya",
    "Santiago",
    "Sofia",
    "Tyrone",
    "Zoë",
];
/// Last names, not all of them ASCII.
pub(super) const LAST: [&str; 24] = [
    "Adams",
    "Álvarez",
    "Brooks",
    "Castillo",
    "Chen",
    "Dyer",
    "Ferguson",
    "García",
    "Haddad",
    "Ibarra",
    "Johnson",
    "Kim",
    "López",
    "Mulligan",
    "Nguyen",
    "O'Brien",
    "Patel",
    "Quintero",
    "Robinson",
    "Sánchez",
    "Torres",
    "Upton",
    "Washington",
    "Young",
];

/// Performance levels, from the lowest.
pub(super) const LEVELS: [&str; 4] = ["Below Basic", "Basic", "Proficient", "Advanced"];
