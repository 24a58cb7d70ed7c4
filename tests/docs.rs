//! The pages of `docs/` that are made from the program itself. `HOLDFAST_BLESS=1 cargo test --test docs` writes them
//! again; read the difference.

use std::path::Path;

#[test]
fn the_page_of_keywords_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keywords.md");
    let page = holdfast::conf::explain::reference_page();
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, &page).expect("a writable page");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(page == written, "docs/keywords.md is out of date, first here: {differs:#?}");
}
