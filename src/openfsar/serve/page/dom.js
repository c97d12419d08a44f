// Small helpers: making elements, colours of actions, numbers in words, the two dialogs that ask something.

const SVG = 'http://www.w3.org/2000/svg';

export const $ = (id) => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

// Properties: "on…" are listeners, "--…" are CSS variables, true is an empty attribute, null and false are left out.
function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === false || value === undefined) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name.startsWith('--')) node.style.setProperty(name, value);
    else if (name === 'muted') node.muted = value; // the attribute alone does not mute
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Each action has a colour; neighbours in the list are a golden angle apart.
let known = [];
export function setActions(labels) { known = labels; }
export function hue(label) {
  const place = known.indexOf(label);
  return place < 0 ? 0 : (265 + 137.5 * place) % 360;
}

export const percent = (share) => (share > 0.995 && share < 1 ? '> 99 %' : `${Math.round(100 * share)} %`);

export function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  const rest = (seconds - 60 * whole).toFixed(1).padStart(4, '0');
  return `${whole}:${rest}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

// For those who cannot see what changed.
export function say(text) { $('status').textContent = text; }

export function complain(error) {
  const problem = error.problem ?? {detail: String(error.message ?? error)};
  const words = el('div', {},
    el('strong', {}, capital(problem.title ?? 'Something went wrong')),
    el('p', {}, sentence(problem.detail)),
    problem.allowed ? el('p', {}, `Allowed: ${sentence(problem.allowed)}`) : null,
    problem.remedy ? el('p', {}, `Try this: ${sentence(problem.remedy)}`) : null);
  const notice = el('div', {class: 'notice'}, words,
    el('button', {class: 'quiet icon', 'aria-label': 'Close this message', onclick: () => notice.remove()}, '✕'));
  $('notices').append(notice);
  while ($('notices').children.length > 3) $('notices').firstChild.remove();
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

export function confirmed(text) {
  const dialog = $('confirm');
  $('confirm-text').textContent = text;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), {once: true});
  });
}

// Files dropped on a place, for mice; the same place always has buttons, too.
export function acceptDrops(node, take) {
  let depth = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  node.addEventListener('dragenter', (event) => {
    if (files(event)) { event.preventDefault(); depth += 1; node.classList.add('over'); }
  });
  node.addEventListener('dragover', (event) => { if (files(event)) event.preventDefault(); });
  node.addEventListener('dragleave', () => { depth -= 1; if (depth <= 0) { depth = 0; node.classList.remove('over'); } });
  node.addEventListener('drop', (event) => {
    if (!files(event)) return;
    event.preventDefault();
    depth = 0;
    node.classList.remove('over');
    take([...event.dataTransfer.files]);
  });
}

// A button that opens the choice of files.
export function fileButton(text, {multiple = true, capture = false, label = null, take}) {
  const input = el('input', {type: 'file', accept: 'video/*,.mkv,.avi', multiple, capture: capture && 'environment', hidden: true,
    onchange: () => { const files = [...input.files]; input.value = ''; if (files.length) take(files); }});
  const button = el('button', {type: 'button', 'aria-label': label, class: 'quiet', onclick: () => input.click()}, text);
  return [input, button];
}
