//! From templates to the page.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::Result;
use crate::input::Report;
use crate::view::Page;

/// All templates, by the names under which they include each other.
const TEMPLATES: [(&str, &str); 12] = [
    ("page.html", include_str!("../templates/page.html")),
    ("header.html", include_str!("../templates/header.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    (
        "sections/differences.html",
        include_str!("../templates/sections/differences.html"),
    ),
    (
        "sections/results.html",
        include_str!("../templates/sections/results.html"),
    ),
    (
        "sections/details.html",
        include_str!("../templates/sections/details.html"),
    ),
    (
        "sections/restorations.html",
        include_str!("../templates/sections/restorations.html"),
    ),
    (
        "sections/examples.html",
        include_str!("../templates/sections/examples.html"),
    ),
    (
        "sections/training.html",
        include_str!("../templates/sections/training.html"),
    ),
    (
        "sections/controls.html",
        include_str!("../templates/sections/controls.html"),
    ),
    (
        "sections/limits.html",
        include_str!("../templates/sections/limits.html"),
    ),
    (
        "sections/reproduce.html",
        include_str!("../templates/sections/reproduce.html"),
    ),
];

const STYLE: &str = include_str!("../templates/style.css");

/// The report as one HTML page that needs nothing else: no network, no scripts, no fonts.
///
/// The page is well-formed XML, too.
///
/// # Errors
/// `Template`, if a template does not fit its values, which no report should bring about.
pub fn render(report: &Report) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    let page = environment.get_template("page.html")?;
    Ok(page.render(context! {
        page => Serde(Page::new(report)),
        // Our own; nothing of the report is in it.
        style => Value::from_safe_string(STYLE.to_owned()),
    })?)
}
