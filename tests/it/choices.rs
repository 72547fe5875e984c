//! Options that are one of a few words: their words.

use polars_edfi::{OnShort, Paging, SchemaChoice};

#[test]
fn words_are_read_and_written() {
    assert_eq!("cursor".parse::<Paging>().unwrap(), Paging::Cursor);
    assert_eq!(OnShort::default().to_string(), "error");
    assert!(matches!("infer".parse(), Ok(SchemaChoice::Infer)));
    let given = SchemaChoice::Given(polars::prelude::Schema::default());
    assert_eq!(given.to_string(), "given");
}

#[test]
fn another_word_is_told_which_there_are() {
    let error = "sideways".parse::<Paging>().unwrap_err();
    let text = "must be one of 'auto', 'offset', 'cursor', 'windows', got \"sideways\"";
    assert_eq!(error.to_string(), text);
}
