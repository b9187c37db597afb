// The look of the HTML report, light and dark. Called by html-report.ts.

export const REPORT_STYLE = `
:root { --ink: #1b1f24; --paper: #fff; --faint: #d9dde2; --soft: #5b6470;
  --c0: #1f77b4; --c1: #d1343c; --c2: #e08a00; --c3: #2b8a57; --c4: #777; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #15181c; --faint: #343a42; --soft: #9aa4b0;
  --c0: #63b3f0; --c1: #ff7076; --c2: #ffb649; --c3: #5fcf93; --c4: #aaa; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1100px;
  margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--faint); padding: 3px 7px; text-align: right; vertical-align: top; }
.facts th, .facts td, td:first-child, td:last-child { text-align: left; }
.wide { overflow-x: auto; }
.good { border-left: 4px solid var(--c3); padding-left: .7em; }
.bad { border-left: 4px solid var(--c1); padding-left: .7em; }
figure { margin: 1.5em 0; }
svg { width: 100%; max-width: 900px; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
svg .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--faint); stroke-width: .7; }
svg .mark { stroke: var(--soft); stroke-dasharray: 3 3; }
svg path, svg line.s0, svg line.s1, svg line.s2, svg line.s3, svg line.s4 { fill: none; stroke-width: 1.8; }
svg .s0 { stroke: var(--c0); } svg .s1 { stroke: var(--c1); } svg .s2 { stroke: var(--c2); }
svg .s3 { stroke: var(--c3); } svg .s4 { stroke: var(--c4); }
svg circle.s0 { fill: var(--c0); } svg circle.s1 { fill: var(--c1); } svg circle.s2 { fill: var(--c2); }
svg circle.s3 { fill: var(--c3); } svg circle.s4 { fill: var(--c4); }
svg .dashed { stroke-dasharray: 5 4; }
`;
