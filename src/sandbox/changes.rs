//! Change queries: the newest version, deletions, changed natural keys.

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, json as json_answer};
use super::problem::Problem;
use super::read::{Reader, TOTAL_COUNT, wants_snapshot};
use super::store::{Tracked, id_text};

impl Reader<'_> {
    /// `GET /changeQueries/v1/availableChangeVersions`.
    pub(super) fn available(&self) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        self.tables(&state)?;
        let newest = match wants_snapshot(self.headers) {
            true => state.snapshot_version,
            false => state.change_version,
        };
        Ok(json_answer(
            StatusCode::OK,
            &json!({"oldestChangeVersion": 0, "newestChangeVersion": newest}),
        ))
    }

    /// `GET /data/v3/{namespace}/{resource}/deletes`.
    pub(super) fn deletes(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let deletes = &self.table(&state, endpoint)?.deletes;
        self.tracked(deletes, |one| {
            json!({
                "id": id_text(one.id),
                "changeVersion": one.change_version,
                "keyValues": one.old_key,
            })
        })
    }

    /// `GET /data/v3/{namespace}/{resource}/keyChanges`: per item the first and the last key of the window.
    pub(super) fn key_changes(&self, endpoint: &str) -> Result<Response<Body>, Problem> {
        let state = self.district.state();
        let table = self.table(&state, endpoint)?;
        let (from, to) = self.query.change_versions()?;
        let mut merged: Vec<Tracked> = Vec::new();
        for change in &table.key_changes {
            if !(from..=to).contains(&change.change_version) {
                continue;
            }
            match merged.iter_mut().find(|earlier| earlier.id == change.id) {
                Some(earlier) => {
                    earlier.change_version = change.change_version;
                    earlier.new_key.clone_from(&change.new_key);
                }
                None => merged.push(change.clone()),
            }
        }
        self.tracked(&merged, |one| {
            json!({
                "id": id_text(one.id),
                "changeVersion": one.change_version,
                "oldKeyValues": one.old_key,
                "newKeyValues": one.new_key,
            })
        })
    }

    fn tracked(
        &self,
        all: &[Tracked],
        show: impl Fn(&Tracked) -> Value,
    ) -> Result<Response<Body>, Problem> {
        let window = self.query.window(self.page_limit)?;
        let (from, to) = self.query.change_versions()?;
        let wants_total = self.query.total_count()?;
        let faults = self.district.faults();
        if faults.faults.no_change_queries {
            return Err(super::read::no_item());
        }
        let chosen: Vec<_> = all
            .iter()
            .filter(|one| (from..=to).contains(&one.change_version))
            .collect();
        let page: Vec<_> = chosen
            .iter()
            .skip(window.offset)
            .take(window.limit)
            .map(|one| show(one))
            .collect();
        let mut answer = json_answer(StatusCode::OK, &page.into());
        if wants_total && self.counts && !faults.faults.no_total_count {
            answer
                .headers_mut()
                .insert(TOTAL_COUNT, chosen.len().into());
        }
        Ok(answer)
    }
}
