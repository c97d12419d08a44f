// The camera: a dialog that counts down and records takes of a chosen length, one after the other.

import {$, complain, el, fileButton, plural} from './dom.js';

const KINDS = ['video/webm;codecs=vp8', 'video/webm', 'video/mp4'];
let stream = null;
let facing = 'environment';
let takes = 0;
let deliver = () => {};
let busy = false;

// Browsers give the camera to pages on this machine and behind https alone. Elsewhere a phone's own camera
// app records, and hands over a file.
export function recordButton(label, take) {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
    return fileButton('Record', {label, multiple: false, capture: true, take: ([file]) => take(file)});
  }
  return el('button', {type: 'button', class: 'quiet', 'aria-label': label, onclick: () => open(label, take)}, 'Record');
}

async function open(label, take) {
  $('recorder-title').textContent = label;
  $('recorder-text').textContent = '';
  [takes, deliver] = [0, take];
  if (await start()) $('recorder').showModal();
}

async function start() {
  stop();
  try {
    const video = {facingMode: facing, width: {ideal: 640}, height: {ideal: 480}, frameRate: {ideal: 30}};
    stream = await navigator.mediaDevices.getUserMedia({video, audio: false});
  } catch (error) {
    const refused = error.name === 'NotAllowedError';
    complain({problem: {
      title: 'no camera',
      detail: refused ? 'The browser does not let this page use the camera' : `The camera cannot be used (${error.name})`,
      remedy: refused ? 'allow it in the address bar, or choose files instead' : 'connect one, close other programs that use it, or choose files instead',
    }});
    return false;
  }
  $('preview').srcObject = stream;
  await $('preview').play();
  return true;
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function take() {
  if (busy || !stream) return;
  busy = true;
  $('take').disabled = true;
  try {
    for (const left of [3, 2, 1]) {
      $('countdown').textContent = left;
      await pause(700);
    }
    $('countdown').textContent = '';
    if (stream) await record(stream, Number($('take-length').value));
  } finally {
    busy = false;
    $('take').disabled = false;
    $('countdown').textContent = '';
    $('recorder').classList.remove('recording');
  }
}

async function record(source, seconds) {
  const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  const recorder = new MediaRecorder(source, {mimeType, videoBitsPerSecond: 2_500_000});
  const parts = [];
  recorder.ondataavailable = (event) => { if (event.data.size) parts.push(event.data); };
  const over = new Promise((done) => { recorder.onstop = done; });
  recorder.start();
  $('recorder').classList.add('recording');
  $('recorder-text').textContent = 'Recording…';
  await pause(1000 * seconds);
  if (recorder.state !== 'inactive') recorder.stop();
  await over;
  if (!$('recorder').open) return; // closed in the middle: not wanted
  takes += 1;
  const ending = mimeType.includes('mp4') ? 'mp4' : 'webm';
  const time = new Date().toTimeString().slice(0, 8).replaceAll(':', '');
  deliver(new File(parts, `camera-${time}-${takes}.${ending}`, {type: mimeType}));
  $('recorder-text').textContent = `${plural(takes, 'clip')} recorded.`;
}

$('take').addEventListener('click', take);
$('flip').addEventListener('click', () => {
  facing = facing === 'environment' ? 'user' : 'environment';
  start();
});
$('recorder-close').addEventListener('click', () => $('recorder').close());
$('recorder').addEventListener('close', stop);
