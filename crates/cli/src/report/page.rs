//! The whole page.

use super::html::escape;
use super::input::ReportInput;
use super::section;

const STYLE: &str = include_str!("style.css");

/// The report as one HTML page that needs nothing else.
pub fn render(input: &ReportInput) -> String {
    let parts = [
        ("differences", "Differences", section::differences(input)),
        ("results", "Results", section::accuracy(input)),
        ("patterns", "Details seen", section::patterns(input)),
        ("restorations", "Restorations", section::restorations(input)),
        ("examples", "Examples", section::examples(input)),
        ("training", "Training", section::training(input)),
        ("controls", "Controls", section::controls(input)),
        ("limits", "Limits", section::limits(input)),
        ("reproduce", "Run it again", section::reproduce(input)),
    ];
    let shown = || parts.iter().filter(|(_, _, html)| !html.is_empty());
    let links: String = shown()
        .map(|(id, name, _)| format!("<a href=\"#{id}\">{name}</a>"))
        .collect();
    let body: String = shown().map(|(_, _, html)| html.as_str()).collect();
    // The policy keeps the promise that the page loads nothing, whatever its texts hold.
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{header}\n<nav aria-label=\"Sections\">{links}</nav>\n{body}\n</main>\n</body>\n</html>\n",
        title = escape(&input.title),
        header = section::headline(input),
    )
}
