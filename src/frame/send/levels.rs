//! In which order one ODS wants the frames of a call.

use std::collections::{BTreeMap, HashMap};

use super::frames::distinct;
use crate::Result;
use crate::openapi::{Dependencies, Level, is_descriptor};

/// What is sent together: all of it before anything of the next step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// The number of the level, as the document has it.
    pub(super) level: i32,
    /// The frames whose rows come first here.
    pub(super) frames: Vec<usize>,
    /// The frames of people, of whom those come again here who were not to be seen before.
    pub(super) again: Vec<usize>,
}

/// The steps of one ODS.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The level of each frame.
    pub(super) levels: Vec<i32>,
    /// The frames that the order does not list.
    pub(super) unlisted: Vec<usize>,
}

/// An order that the caller gives for ODSs that serve none: names, those of a list side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(HashMap<String, Level>);

impl Order {
    pub(super) fn new(levels: &[Vec<String>]) -> Result<Self> {
        let names = levels.iter().flatten().map(String::as_str);
        let mut endpoints = distinct(names, "order")?.into_iter();
        let mut order = HashMap::new();
        for (level, names) in (1..).zip(levels) {
            for endpoint in endpoints.by_ref().take(names.len()) {
                let update = None;
                order.insert(
                    endpoint.to_lowercase(),
                    Level {
                        create: level,
                        update,
                    },
                );
            }
        }
        Ok(Self(order))
    }

    pub(super) fn is_given(&self) -> bool {
        !self.0.is_empty()
    }

    /// That of a document; the error says what is wrong with it.
    pub(super) fn of(document: &Dependencies) -> Result<Self, String> {
        Ok(Self(document.levels()?))
    }

    /// The level of each frame; `None` where the order does not list it.
    fn of_frames(&self, endpoints: &[String]) -> Vec<Option<Level>> {
        let of = |endpoint: &String| self.0.get(&endpoint.to_lowercase()).copied();
        endpoints.iter().map(of).collect()
    }

    fn last(&self) -> i32 {
        let levels = self.0.values();
        let last = levels
            .map(|level| level.update.unwrap_or(level.create))
            .max();
        last.unwrap_or_default()
    }

    /// The steps of what is to be written: what is not listed comes last.
    pub(super) fn to_write(&self, endpoints: &[String]) -> Plan {
        let mut plan = self.plan(endpoints, |_, level| level);
        let mut again: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (frame, level) in self.of_frames(endpoints).iter().enumerate() {
            if let Some(update) = level.and_then(|level| level.update) {
                again.entry(update).or_default().push(frame);
            }
        }
        for (level, again) in again {
            match plan.steps.iter_mut().find(|step| step.level == level) {
                Some(step) => step.again = again,
                None => plan.steps.push(Step {
                    level,
                    again,
                    ..Step::default()
                }),
            }
        }
        plan.steps.sort_by_key(|step| step.level);
        plan
    }

    /// The steps of what is to go: the other way round, descriptors last.
    pub(super) fn to_remove(&self, endpoints: &[String]) -> Plan {
        self.plan(endpoints, |endpoint, level| {
            let after_all = if is_descriptor(endpoint) {
                i64::from(i32::MAX)
            } else {
                0
            };
            after_all * 2 - level
        })
    }

    /// Steps in the order of `place`, which makes something of an endpoint and its level.
    fn plan(&self, endpoints: &[String], place: impl Fn(&str, i64) -> i64) -> Plan {
        let mut plan = Plan::default();
        let mut steps: BTreeMap<i64, Step> = BTreeMap::new();
        for (frame, level) in self.of_frames(endpoints).into_iter().enumerate() {
            let level = match level {
                Some(level) => level.create,
                None => {
                    plan.unlisted.push(frame);
                    self.last().saturating_add(1)
                }
            };
            plan.levels.push(level);
            let step = steps
                .entry(place(&endpoints[frame], level.into()))
                .or_default();
            step.level = level;
            step.frames.push(frame);
        }
        plan.steps = steps.into_values().collect();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&str; 5] = [
        "ed-fi/Students",
        "a/b",
        "ed-fi/schools",
        "x/yDescriptors",
        "c/d",
    ];

    fn endpoints() -> Vec<String> {
        FRAMES.map(str::to_owned).into()
    }

    fn steps(plan: &Plan) -> Vec<(i32, Vec<usize>, Vec<usize>)> {
        let steps = plan.steps.iter();
        steps
            .map(|step| (step.level, step.frames.clone(), step.again.clone()))
            .collect()
    }

    #[test]
    fn a_document_makes_steps() {
        let text = r#"[{"resource": "/ed-fi/students", "order": 2, "operations": ["Create"]},
            {"resource": "/ed-fi/students", "order": 7, "operations": ["Update"]},
            {"resource": "/ed-fi/schools", "order": 3, "operations": ["Create", "Update"]},
            {"resource": "/x/yDescriptors", "order": 1, "operations": ["Create", "Update"]}]"#;
        let document = Dependencies::parse(text.as_bytes()).unwrap();
        let order = Order::of(&document).unwrap();
        let plan = order.to_write(&endpoints());
        let expected = [
            (1, vec![3], vec![]),
            (2, vec![0], vec![]),
            (3, vec![2], vec![]),
            (7, vec![], vec![0]),
            (8, vec![1, 4], vec![]),
        ];
        assert_eq!(steps(&plan), expected);
        assert_eq!(
            (plan.levels, plan.unlisted),
            (vec![2, 8, 3, 1, 8], vec![1, 4])
        );
        let expected = [
            (8, vec![1, 4], vec![]),
            (3, vec![2], vec![]),
            (2, vec![0], vec![]),
            (1, vec![3], vec![]),
        ];
        assert_eq!(steps(&order.to_remove(&endpoints())), expected);
    }

    #[test]
    fn an_order_may_be_given() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let given = [
            names(&["/x/yDescriptors/", "ed-fi/schools"]),
            names(&["a/b"]),
        ];
        let order = Order::new(&given).unwrap();
        let expected = [
            (1, vec![2, 3], vec![]),
            (2, vec![1], vec![]),
            (3, vec![0, 4], vec![]),
        ];
        assert_eq!(steps(&order.to_write(&endpoints())), expected);
        // Descriptors go last even beside others.
        let expected = [
            (3, vec![0, 4], vec![]),
            (2, vec![1], vec![]),
            (1, vec![2], vec![]),
            (1, vec![3], vec![]),
        ];
        assert_eq!(steps(&order.to_remove(&endpoints())), expected);
        assert!(Order::new(&[names(&["a/b", "A/B/"])]).is_err());
        assert!(Order::new(&[names(&["a b"])]).is_err());
    }
}
