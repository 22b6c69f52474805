// The results and the player of `collap app`. Gradio runs this when its HTML component is loaded, with `element`,
// `props`, `trigger` and `watch`. `props.value` is what `answer` of app.py gives.

const ARROW_SECONDS = 5;
const drop = element.querySelector(".drop");
const file = element.querySelector(".drop input");
const status = element.querySelector(".status");
const list = element.querySelector(".songs");
const audio = element.querySelector("audio");
let playing = null; // the <li> of the song in the player

// ---- Small helpers

/** An element with attributes and children; a text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const digits = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${digits(minutes)}:${digits(rest)}` : `${minutes}:${digits(rest)}`;
}

const percent = (part) => `${(100 * part).toFixed(3)}%`;

// ---- The player: one <audio> for all songs

function play(song, seconds) {
  if (playing !== song) {
    stop();
    playing = song;
    song.classList.add("current");
    audio.src = `audio/${song.dataset.id}`;
  }
  audio.currentTime = seconds;
  showPosition(song, seconds);
  audio.play().catch(() => {}); // what cannot be played raises `error` below
}

function stop() {
  audio.pause();
  if (playing) playing.classList.remove("current", "sounding");
  playing = null;
}

function toggle(song) {
  if (playing !== song) play(song, 0);
  else if (audio.paused) audio.play().catch(() => {});
  else audio.pause();
}

function showPosition(song, seconds) {
  const duration = Number(song.dataset.duration);
  song.style.setProperty("--played", percent(Math.min(seconds / duration, 1)));
  const wave = song.querySelector(".wave");
  wave.setAttribute("aria-valuenow", Math.round(seconds));
  wave.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(duration)}`);
  song.querySelector(".position").textContent = `${clock(seconds)} / ${clock(duration)}`;
}

function showState() {
  if (!playing) return;
  playing.classList.toggle("sounding", !audio.paused);
  const button = playing.querySelector(".play");
  button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${playing.dataset.title}`);
}

audio.addEventListener("play", showState);
audio.addEventListener("pause", showState);
audio.addEventListener("ended", showState);
audio.addEventListener("timeupdate", () => playing && showPosition(playing, audio.currentTime));
audio.addEventListener("error", async () => {
  if (!playing) return;
  if (audio.src.endsWith("?mp3")) {
    const { title } = playing.dataset;
    const answer = await fetch(audio.src, { headers: { Range: "bytes=0-0" } }).catch(() => null);
    say(answer?.status === 404 ? (await answer.json()).detail : `${title} cannot be played.`, true);
    status.scrollIntoView({ block: "nearest" });
    return;
  }
  const seconds = audio.currentTime; // a format that this browser lacks: the server makes an MP3 of it
  audio.src += "?mp3";
  audio.currentTime = seconds;
  audio.play().catch(() => {});
});

// ---- One song

function drawSong(found, sentences) {
  const about = [found.artist, found.album, clock(found.duration_s)].filter(Boolean).join(" · ");
  const song = make("li", {
    class: "song", "data-id": found.id, "data-duration": found.duration_s, "data-title": found.title,
  });
  const button = make("button", { class: "play", type: "button", "aria-label": `Play ${found.title}` });
  button.addEventListener("click", () => toggle(song));
  const match = found.probability === null ? `score ${found.score.toFixed(2)}`
    : found.probability < 0.01 ? "under 1% match" : `${Math.round(100 * found.probability)}% match`;
  const similar = make("a", { class: "similar", href: `?like=${found.id}` }, "Similar songs");
  similar.setAttribute("aria-label", `Songs similar to ${found.title}`);
  song.append(
    make("div", { class: "head" },
      button,
      make("div", { class: "name" }, make("h3", {}, found.title), make("p", {}, about)),
      make("div", { class: "side" }, make("span", { class: "match" }, match), similar)),
    drawWave(song, found),
    ...found.lanes.map((lane) => drawLane(song, found, lane)),
  );
  return song;
}

/** The seconds at which a bar of the width of the song was clicked. */
function secondsAt(event, bar, duration) {
  const box = bar.getBoundingClientRect();
  return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * duration;
}

function drawWave(song, found) {
  const wave = make("div", {
    class: "wave", role: "slider", tabindex: 0, "aria-label": `Position in ${found.title}`,
    "aria-valuemin": 0, "aria-valuemax": Math.round(found.duration_s), "aria-valuenow": 0,
    "aria-valuetext": `0:00 of ${clock(found.duration_s)}`,
  });
  wave.addEventListener("click", (event) => play(song, secondsAt(event, wave, found.duration_s)));
  wave.addEventListener("keydown", (event) => {
    const here = playing === song ? audio.currentTime : 0;
    const step = { ArrowRight: ARROW_SECONDS, ArrowUp: ARROW_SECONDS, ArrowLeft: -ARROW_SECONDS, ArrowDown: -ARROW_SECONDS };
    if (event.key in step) play(song, Math.min(Math.max(here + step[event.key], 0), found.duration_s));
    else if (event.key === "Home") play(song, 0);
    else if (event.key === "Enter" || event.key === " ") toggle(song);
    else return;
    event.preventDefault();
  });
  whenSeen.set(wave, () => drawPeaks(wave, found.id));
  observer.observe(wave);
  return make("div", { class: "row" }, make("span", { class: "position" }), wave);
}

// Waveforms are asked for when they come into view: the server decodes the song for them.
const whenSeen = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    whenSeen.get(target)();
    whenSeen.delete(target);
  }
}, { rootMargin: "300px" });

async function drawPeaks(wave, id) {
  const answer = await fetch(`waveform/${id}`).catch(() => null);
  if (!answer?.ok) {
    if (answer?.status !== 404) return;
    wave.append(make("p", { class: "missing" }, (await answer.json()).detail));
    return;
  }
  const peaks = await answer.json();
  const bars = peaks.map((peak, x) => `M${x + 0.5} ${50 - Math.max(peak, 1) / 2}v${Math.max(peak, 1)}`).join("");
  // Twice, in the colours of what is still to come and of what was played; both are static markup of numbers.
  for (const part of ["ahead", "played"]) {
    wave.insertAdjacentHTML("beforeend",
      `<svg class="${part}" viewBox="0 0 ${peaks.length} 100" preserveAspectRatio="none"><path d="${bars}"/></svg>`);
  }
}

/** The row of one sentence: its words, its heat over the song, and a button for each of its spans. */
function drawLane(song, found, lane) {
  const bar = make("div", { class: "lane" });
  bar.addEventListener("click", (event) => play(song, secondsAt(event, bar, found.duration_s)));
  if (lane.heat.length) {
    const stops = lane.heat.map((heat, cell) => `rgb(0 0 0 / ${heat}%) ${percent((cell + 0.5) / lane.heat.length)}`);
    const heat = make("div", { class: "heat" });
    heat.style.maskImage = `linear-gradient(to right, ${stops.join(", ")})`;
    bar.append(heat);
  }
  const times = make("div", { class: "times" });
  for (const [start_s, end_s] of lane.spans) {
    const mark = make("div", { class: "span" });
    mark.style.left = percent(start_s / found.duration_s);
    mark.style.width = percent((end_s - start_s) / found.duration_s);
    const text = `${clock(start_s)}-${clock(end_s)}`;
    const button = make("button", { type: "button", "aria-label": `Play ${text}: ${lane.sentence}` }, text);
    for (const target of [mark, button]) {
      target.addEventListener("click", (event) => {
        event.stopPropagation();
        play(song, start_s);
      });
    }
    bar.append(mark);
    times.append(button);
  }
  return make("div", { class: "row" }, make("p", { class: "sentence", title: lane.sentence }, lane.sentence), bar, times);
}

// ---- An answer of the server

function say(text, isError = false) {
  status.setAttribute("role", isError ? "alert" : "status");
  status.classList.toggle("error", isError);
  status.replaceChildren(text);
}

function show(answer) {
  stop();
  audio.removeAttribute("src");
  observer.disconnect();
  whenSeen.clear();
  drop.classList.remove("busy");
  say(answer.error ?? answer.message, Boolean(answer.error));
  list.classList.toggle("far", answer.is_match === false);
  list.replaceChildren(...(answer.songs ?? []).map(drawSong));
  if (answer.songs?.length) setTimeout(showResults, 200); // Gradio may still be opening the filters
  const link = new URLSearchParams(answer.link);
  if (answer.link && String(link) !== String(new URLSearchParams(location.search))) {
    history.pushState(null, "", link.size ? `?${link}` : location.pathname);
  }
}

/** Scrolls to the results where they are out of sight, as on a phone. */
function showResults() {
  if (status.getBoundingClientRect().bottom > window.innerHeight - 100) status.scrollIntoView();
}

watch("value", () => show(props.value));
window.addEventListener("popstate", () => location.reload()); // the page restores the query of its address

// ---- A song as the query

async function findNeighbours(song) {
  drop.classList.add("busy");
  say(`Encoding ${song.name} …`);
  try {
    const answer = await fetch("songs", { method: "POST", body: song });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.detail);
    trigger("upload", { upload: content.upload, name: song.name });
  } catch (error) {
    drop.classList.remove("busy");
    say(error.message, true);
  }
}

file.addEventListener("change", () => {
  if (file.files.length) findNeighbours(file.files[0]);
  file.value = "";
});
// Anywhere on the page: a song that misses the field must not replace the page.
const holdsFile = (event) => event.dataTransfer.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  drop.classList.remove("over");
  findNeighbours(event.dataTransfer.files[0]);
});
