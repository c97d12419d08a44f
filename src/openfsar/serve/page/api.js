// Talking to the server: the token, refusals in words, uploads with progress.

import {$} from './dom.js';

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

// A link may carry the token behind the #, which browsers do not send; it does not stay in the address.
const carried = new URLSearchParams(location.hash.slice(1)).get('token');
if (carried) {
  sessionStorage.setItem('token', carried);
  history.replaceState(null, '', location.pathname);
}

const authorization = () => {
  const token = sessionStorage.getItem('token');
  return token ? {Authorization: `Bearer ${token}`} : {};
};

let asking = null;
function askToken(again) {
  asking ??= new Promise((done) => {
    const dialog = $('token');
    if (again) $('token-text').textContent = 'That was not the token that the server was started with.';
    $('token-word').value = '';
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      sessionStorage.setItem('token', $('token-word').value.trim());
      asking = null;
      done();
    };
    dialog.showModal();
  });
  return asking;
}

const silence = {
  title: 'no answer',
  detail: 'The server does not answer',
  remedy: 'check that it still runs, then try again',
};

// One request; asks for the token as often as it takes.
export async function call(method, path, {body = null, progress = null, signal = null} = {}) {
  for (;;) {
    const used = sessionStorage.getItem('token');
    const answer = await send(method, path, body, progress, signal);
    if (answer.status === 401) {
      if (sessionStorage.getItem('token') === used) await askToken(Boolean(used));
      continue;
    }
    const type = answer.type ?? '';
    if (answer.status >= 400) {
      const problem = type.includes('json') ? JSON.parse(await answer.data.text()) : null;
      throw new Refused(problem?.detail ? problem : {title: `error ${answer.status}`, detail: 'The server gave no reason'});
    }
    if (answer.status === 204) return null;
    return type.includes('json') ? JSON.parse(await answer.data.text()) : answer.data;
  }
}

// XMLHttpRequest, because fetch cannot tell how much of an upload has left.
function send(method, path, body, progress, signal) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = 'blob';
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.onload = () => done({
      status: request.status, type: request.getResponseHeader('Content-Type'), data: request.response,
    });
    request.onerror = () => fail(new Refused(silence));
    request.onabort = () => fail(new DOMException('cancelled', 'AbortError'));
    if (progress) request.upload.onprogress = (event) => progress(event.loaded / Math.max(1, event.total));
    signal?.addEventListener('abort', () => request.abort());
    request.send(body);
  });
}

export function form(fields, files) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  for (const file of files) data.append('files', file, file.name);
  return data;
}

// Said before a long upload is made in vain: is a file within this limit of the server?
let limits = null;
export async function checkSize(file, limit) {
  limits ??= (await call('GET', '/api/model')).limits;
  const bytes = limits[limit];
  if (file.size <= bytes) return;
  const mb = (size) => `${(size / 1e6).toFixed(0)} MB`;
  throw new Refused({
    title: 'the file is too large', detail: `${file.name} has ${mb(file.size)}`,
    allowed: `${mb(bytes)} a file`, remedy: 'cut it, or save it in a lower quality',
  });
}

// Film strips never change, so each is fetched once.
const strips = new Map();
export function strip(id) {
  if (!strips.has(id)) {
    const found = call('GET', `/api/examples/${encodeURIComponent(id)}/strip`).then((blob) => URL.createObjectURL(blob));
    found.catch(() => strips.delete(id));
    strips.set(id, found);
  }
  return strips.get(id);
}
