// The words of the page, a table per language, and how numbers and times are written.

const en = {
  skip: "Skip to content", places: "Places", language: "Language", theme: "Colours",
  theme_auto: "System", theme_light: "Light", theme_dark: "Dark",
  overview: "Overview", devices: "Devices", deployments: "Deployments", tasks: "Tasks", usage: "Usage", chat: "Chat",
  // The bar.
  connecting: "Connecting…", gone: "Server not reachable", gone_text: "The server does not answer; the page tries again by itself. What you see is from {at}.",
  gone_first: "The server does not answer; the page tries again by itself.",
  denied: "Not allowed", denied_text: "This key may not look at the server: {why}", forget_key: "Forget key",
  health_ok: "Ready", health_starting: "Starting", health_draining: "Stopping", health_unavailable: "Unavailable",
  // The key.
  key_title: "This server asks for a key", key_text: "It is kept in this tab only and sent to no other server.",
  key_label: "API key", key_show: "Open", key_wrong: "The server does not know this key.", key_needed: "A key is needed to see this.", key_enter: "Enter key",
  // Shared.
  no_values: "Nothing measured in this time", chart_series: "{label}: now {last}, least {least}, most {most}.",
  device: "Device {id}", device_short: "Device", deployment: "Deployment", replica: "Replica {n}", state: "State", none: "none", of: "{a} of {b}", loading: "Loading…",
  failed_to_load: "This could not be loaded", try_again: "Try again", close: "Close", unknown: "unknown", not_measured: "not measured", span: "Time shown",
  span_5m: "5 min", span_30m: "30 min", span_24h: "24 h", span_7d: "7 days", span_30d: "30 days", ago: "{time} ago", saved: "Saved", now: "now",
  // Overview.
  waiting: "Waiting", waiting_label: "Requests in the queue", running: "Running", running_label: "Requests on devices", tokens_s: "tokens/s", tokens_now: "Tokens per second, all requests",
  ended_now: "Requests done per second", failed_now: "{n} failed per second", latency: "Latency", latency_window: "Last {n} minutes", measured: "What", p50: "p50", p95: "p95", p99: "p99", count: "Count",
  lat_queue: "Wait in the queue", lat_first_token: "Time to first token", lat_inter_token: "Between two tokens", lat_total: "End to end",
  chart_queue: "Queue", chart_tokens: "Tokens per second", chart_first_token: "Time to first token", chart_inter_token: "Between two tokens", chart_total: "End to end", chart_ended: "Requests per second",
  s_completed: "completed", s_failed: "failed", s_canceled: "canceled", s_waiting: "waiting", s_running: "running",
  requests: "Running requests", request: "Request", key: "Key", since: "Runs for", prompt: "Prompt", generated: "Generated", speed: "Tokens/s",
  no_requests: "Nothing runs", no_requests_text: "Requests show up here, each with its speed, while they run.", requests_more: "The oldest {n} are shown.",
  // Devices.
  strategy: "Strategy", strategy_text: "How a device is chosen for the next task", strategy_set: "Tasks are now placed by {name}.", only_admin: "Only a key with the role admin can change this.",
  utilization: "Utilization", memory: "Memory", temperature: "Temperature", power: "Power", queue: "Queue", healthy: "healthy", unhealthy: "unhealthy",
  mem_weights: "weights", mem_activations: "activations", mem_kv: "KV blocks", mem_reservations: "reservations", mem_free: "free", runs_on: "Runs", nothing_runs_here: "no deployment", simulated: "simulated",
  first_devices: "Charts show the first {n} devices.", no_temperature: "No device here measures its temperature or power.",
  str_round_robin: "Round robin", str_least_loaded: "Least loaded", str_memory_optimized: "Memory optimized", str_task_specific: "By task type", str_random: "Random", str_prefix_affinity: "Prefix affinity", str_earliest_finish: "Earliest finish",
  // Deployments.
  model: "Model", replicas: "Replicas", restarts: "Restarts", kv_free: "KV tokens free", context: "Context", sequences: "Running", process: "Process", adapters: "Adapters", timeline: "Replicas over time", changes: "What changed, and why", no_changes: "Nothing changed in this time.",
  st_STARTING: "starting", st_LOADING: "loading", st_RUNNING: "running", st_STOPPING: "stopping", st_BACKOFF: "waits to restart", st_STOPPED: "stopped", st_REMOVED: "removed",
  dep_HEALTHY: "healthy", dep_UPDATING: "updating", dep_UNHEALTHY: "unhealthy", ch_strategy: "Strategy", ch_max_concurrent_tasks: "Tasks per device", ch_limits: "Limits reloaded", ch_drain: "Server stops", ch_warning: "Warning", ch_scale: "Replicas", dep_UPSCALING: "scaling up", dep_DOWNSCALING: "scaling down", wanted: "{a} of at most {b} replicas wanted", by_load: "the number follows the load", held: "a person has said the number",
  timeline_label: "{name}: {states}",
  // Tasks.
  all_states: "All", task: "Task", created: "Created", type: "Type", tokens: "Tokens", duration: "Duration", total: "{n} tasks", find: "Find a task by its id", find_short: "Task id", search: "Find", refresh: "Refresh", no_tasks: "No tasks", no_tasks_text: "Tasks sent with POST /api/v1/predict are listed here. Chats and completions are answered at once and show under running requests.", no_such_task: "No task has this id. Ids are 32 hex digits.",
  queued: "queued", running_: "running", completed: "completed", failed: "failed", canceled: "canceled", started: "Started", finished: "Finished", position: "Place in the queue", finish_reason: "End", seed: "Seed", result: "Result", error: "Error", note: "Note",
  cancel: "Cancel task", cancel_sure: "Cancel this task?", cancel_keep: "Keep it", canceled_done: "The task was canceled.", explain: "Why this device", explain_none: "The choice is not known any more.", chosen: "chosen", runner_up: "second", rejected: "rejected", unnamed: "neither", other_strategies: "What other strategies would have chosen", moves: "Moves while it waited", moved: "{at}: from device {from} to {to}, {why}", by_strategy: "Strategy: {name}", no_device: "none", embedding: "Embedding with {n} values", key_filter: "Key", all_keys: "All keys",
  // Usage.
  usage_since: "Counted since {at}.", usage_gap: "The server has counted for less than the time chosen: what was before is not known.", usage_kept: "Kept for 30 days in the journal, written once a minute.", usage_not_kept: "Requests that ended since the last minute may be missing after a crash.", requests_ended: "Requests", prompt_tokens: "Prompt tokens", generated_tokens: "Generated tokens", device_time: "Device time", cost: "Cost", no_price: "no price known", cost_text: "Costs are list prices of simulated devices (USD per device and hour). A device's time is shared out evenly among the requests that run on it; idle time is nobody's.", price_missing: "The price of your machines is not known to the server, so no cost is shown for their time.", spot: "Spot", spot_text: "This server has no spot pool; savings and interruptions are not measured.", no_usage: "Nothing used yet", no_usage_text: "What a key uses is counted when its requests end.", no_key: "(no key)", chart_usage: "Tokens per hour, by key", sum: "Total", others: "others",
  // Chat.
  system_prompt: "System prompt", system_placeholder: "Optional. How should the model answer?", message: "Message", message_placeholder: "Write a message. Enter sends, Shift+Enter begins a new line.", send: "Send", stop: "Stop", regenerate: "Answer again", clear: "New chat", side_by_side: "Two models", one_model: "One model", you: "You", answer: "Answer", thinking: "Thinking", stopped: "stopped", chat_empty: "Say something to {model}", chat_empty_text: "The whole conversation is sent with each message and kept in this page only.", temperature_label: "Temperature", max_tokens: "Most tokens", no_models: "No model is served", no_models_text: "Start altlas with --model to chat.", meta: "{n} tokens, {s} tokens/s, first after {t}", cut: "the answer reached its most tokens", chat_failed: "No answer: {why}", copy: "Copy", copied: "Copied", options: "Options",
};

const tr = {
  skip: "İçeriğe geç", places: "Sayfalar", language: "Dil", theme: "Renkler",
  theme_auto: "Sistem", theme_light: "Açık", theme_dark: "Koyu",
  overview: "Genel", devices: "Aygıtlar", deployments: "Dağıtımlar", tasks: "Görevler", usage: "Kullanım", chat: "Sohbet",
  connecting: "Bağlanıyor…", gone: "Sunucuya ulaşılamıyor", gone_text: "Sunucu yanıt vermiyor; sayfa kendiliğinden yeniden dener. Gördükleriniz {at} anına ait.",
  gone_first: "Sunucu yanıt vermiyor; sayfa kendiliğinden yeniden dener.",
  denied: "İzin yok", denied_text: "Bu anahtar sunucuyu izleyemez: {why}", forget_key: "Anahtarı unut",
  health_ok: "Hazır", health_starting: "Başlıyor", health_draining: "Duruyor", health_unavailable: "Kullanılamıyor",
  key_title: "Bu sunucu anahtar istiyor", key_text: "Yalnızca bu sekmede tutulur ve başka sunucuya gönderilmez.",
  key_label: "API anahtarı", key_show: "Aç", key_wrong: "Sunucu bu anahtarı tanımıyor.", key_needed: "Bunu görmek için anahtar gerekir.", key_enter: "Anahtar gir",
  no_values: "Bu sürede ölçüm yok", chart_series: "{label}: şimdi {last}, en az {least}, en çok {most}.",
  device: "Aygıt {id}", device_short: "Aygıt", deployment: "Dağıtım", replica: "Kopya {n}", state: "Durum", none: "yok", of: "{a} / {b}", loading: "Yükleniyor…",
  failed_to_load: "Bu yüklenemedi", try_again: "Yeniden dene", close: "Kapat", unknown: "bilinmiyor", not_measured: "ölçülmüyor", span: "Gösterilen süre",
  span_5m: "5 dk", span_30m: "30 dk", span_24h: "24 sa", span_7d: "7 gün", span_30d: "30 gün", ago: "{time} önce", saved: "Kaydedildi", now: "şimdi",
  waiting: "Bekleyen", waiting_label: "Kuyruktaki istekler", running: "Çalışan", running_label: "Aygıtlardaki istekler", tokens_s: "token/sn", tokens_now: "Saniyede token, tüm istekler",
  ended_now: "Saniyede biten istek", failed_now: "saniyede {n} başarısız", latency: "Gecikme", latency_window: "Son {n} dakika", measured: "Ne", p50: "p50", p95: "p95", p99: "p99", count: "Sayı",
  lat_queue: "Kuyrukta bekleme", lat_first_token: "İlk tokene kadar", lat_inter_token: "İki token arası", lat_total: "Baştan sona",
  chart_queue: "Kuyruk", chart_tokens: "Saniyede token", chart_first_token: "İlk tokene kadar süre", chart_inter_token: "İki token arası", chart_total: "Baştan sona", chart_ended: "Saniyede istek",
  s_completed: "tamamlanan", s_failed: "başarısız", s_canceled: "iptal", s_waiting: "bekleyen", s_running: "çalışan",
  requests: "Çalışan istekler", request: "İstek", key: "Anahtar", since: "Süresi", prompt: "İstem", generated: "Üretilen", speed: "Token/sn",
  no_requests: "Çalışan istek yok", no_requests_text: "İstekler çalıştıkları sürece hızlarıyla burada görünür.", requests_more: "En eski {n} istek gösteriliyor.",
  strategy: "Strateji", strategy_text: "Sıradaki görev için aygıt nasıl seçilir", strategy_set: "Görevler artık {name} ile yerleştiriliyor.", only_admin: "Bunu yalnızca admin rolündeki bir anahtar değiştirebilir.",
  utilization: "Kullanım", memory: "Bellek", temperature: "Sıcaklık", power: "Güç", queue: "Kuyruk", healthy: "sağlıklı", unhealthy: "sağlıksız",
  mem_weights: "ağırlıklar", mem_activations: "ara değerler", mem_kv: "KV blokları", mem_reservations: "ayrılan", mem_free: "boş", runs_on: "Çalışan", nothing_runs_here: "dağıtım yok", simulated: "benzetim",
  first_devices: "Grafikler ilk {n} aygıtı gösterir.", no_temperature: "Buradaki aygıtların hiçbiri sıcaklığını ya da gücünü ölçmüyor.",
  str_round_robin: "Sırayla", str_least_loaded: "En az yüklü", str_memory_optimized: "Bellek öncelikli", str_task_specific: "Görev türüne göre", str_random: "Rastgele", str_prefix_affinity: "Önek yakınlığı", str_earliest_finish: "En erken biten",
  model: "Model", replicas: "Kopyalar", restarts: "Yeniden başlatma", kv_free: "Boş KV tokeni", context: "Bağlam", sequences: "Çalışan", process: "Süreç", adapters: "Adaptörler", timeline: "Zaman içinde kopyalar", changes: "Ne değişti, neden", no_changes: "Bu sürede değişiklik yok.",
  st_STARTING: "başlıyor", st_LOADING: "yükleniyor", st_RUNNING: "çalışıyor", st_STOPPING: "duruyor", st_BACKOFF: "yeniden başlamayı bekliyor", st_STOPPED: "durdu", st_REMOVED: "kaldırıldı",
  dep_HEALTHY: "sağlıklı", dep_UPDATING: "güncelleniyor", dep_UNHEALTHY: "sağlıksız", ch_strategy: "Strateji", ch_max_concurrent_tasks: "Aygıt başına görev", ch_limits: "Sınırlar yenilendi", ch_drain: "Sunucu duruyor", ch_warning: "Uyarı", ch_scale: "Kopyalar", dep_UPSCALING: "büyütülüyor", dep_DOWNSCALING: "küçültülüyor", wanted: "En çok {b} kopyadan {a} tanesi isteniyor", by_load: "sayı yüke uyuyor", held: "sayıyı bir kişi belirledi",
  timeline_label: "{name}: {states}",
  all_states: "Tümü", task: "Görev", created: "Oluşturuldu", type: "Tür", tokens: "Token", duration: "Süre", total: "{n} görev", find: "Görevi kimliğiyle bul", find_short: "Görev kimliği", search: "Bul", refresh: "Yenile", no_tasks: "Görev yok", no_tasks_text: "POST /api/v1/predict ile gönderilen görevler burada listelenir. Sohbetler ve tamamlamalar hemen yanıtlanır; çalışan istekler altında görünür.", no_such_task: "Bu kimlikte görev yok. Kimlikler 32 onaltılık basamaktır.",
  queued: "bekliyor", running_: "çalışıyor", completed: "tamamlandı", failed: "başarısız", canceled: "iptal", started: "Başladı", finished: "Bitti", position: "Kuyruktaki yeri", finish_reason: "Bitiş", seed: "Tohum", result: "Sonuç", error: "Hata", note: "Not",
  cancel: "Görevi iptal et", cancel_sure: "Bu görev iptal edilsin mi?", cancel_keep: "Vazgeç", canceled_done: "Görev iptal edildi.", explain: "Neden bu aygıt", explain_none: "Seçim artık bilinmiyor.", chosen: "seçildi", runner_up: "ikinci", rejected: "elendi", unnamed: "ikisi de değil", other_strategies: "Öbür stratejiler neyi seçerdi", moves: "Beklerken taşınmalar", moved: "{at}: aygıt {from} → {to}, {why}", by_strategy: "Strateji: {name}", no_device: "yok", embedding: "{n} değerli gömme", key_filter: "Anahtar", all_keys: "Tüm anahtarlar",
  usage_since: "{at} anından beri sayılıyor.", usage_gap: "Sunucu seçilen süreden daha kısa süredir sayıyor: öncesi bilinmiyor.", usage_kept: "Günlükte 30 gün tutulur, dakikada bir yazılır.", usage_not_kept: "Bir çökmeden sonra son dakikada biten istekler eksik olabilir.", requests_ended: "İstekler", prompt_tokens: "İstem tokeni", generated_tokens: "Üretilen token", device_time: "Aygıt süresi", cost: "Maliyet", no_price: "fiyat bilinmiyor", cost_text: "Maliyetler benzetim aygıtlarının liste fiyatlarıdır (aygıt ve saat başına USD). Bir aygıtın süresi üzerinde çalışan istekler arasında eşit paylaşılır; boş süre kimseye yazılmaz.", price_missing: "Makinelerinizin fiyatını sunucu bilmiyor; bu yüzden süreleri için maliyet gösterilmez.", spot: "Spot", spot_text: "Bu sunucuda spot havuzu yok; tasarruf ve kesintiler ölçülmüyor.", no_usage: "Henüz kullanım yok", no_usage_text: "Bir anahtarın kullandığı, istekleri bitince sayılır.", no_key: "(anahtarsız)", chart_usage: "Anahtara göre saatlik token", sum: "Toplam", others: "ötekiler",
  system_prompt: "Sistem istemi", system_placeholder: "İsteğe bağlı. Model nasıl yanıtlasın?", message: "Mesaj", message_placeholder: "Bir mesaj yazın. Enter gönderir, Shift+Enter yeni satıra geçer.", send: "Gönder", stop: "Durdur", regenerate: "Yeniden yanıtla", clear: "Yeni sohbet", side_by_side: "İki model", one_model: "Tek model", you: "Siz", answer: "Yanıt", thinking: "Düşünme", stopped: "durduruldu", chat_empty: "{model} modeline bir şey söyleyin", chat_empty_text: "Her mesajla tüm konuşma gönderilir ve yalnızca bu sayfada tutulur.", temperature_label: "Sıcaklık", max_tokens: "En çok token", no_models: "Sunulan model yok", no_models_text: "Sohbet için altlas'ı --model ile başlatın.", meta: "{n} token, {s} token/sn, ilki {t} sonra", cut: "yanıt en çok token sınırına ulaştı", chat_failed: "Yanıt yok: {why}", copy: "Kopyala", copied: "Kopyalandı", options: "Seçenekler",
};

export const languages = { en: "English", tr: "Türkçe" };
const tables = { en, tr };

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

let language = stored("altlas.language");
if (!(language in tables))
  language = (navigator.languages ?? [navigator.language]).some((one) => one.startsWith("tr") ) &&
    !navigator.language.startsWith("en") ? "tr" : "en";
document.documentElement.lang = language;

export const currentLanguage = () => language;
export function setLanguage(name) {
  language = name;
  document.documentElement.lang = name;
  try {
    localStorage.setItem("altlas.language", name);
  } catch {
    // It then lasts as long as the page.
  }
}

// The word `name`, with {values} put in.
export function t(name, values = {}) {
  const text = tables[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? values[key] : whole));
}
// The word where there is one for `name`, else `fallback`.
export const word = (name, fallback) => tables[language][name] ?? fallback;

const formats = new Map();
function format(kind, options) {
  const key = `${language} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new kind(language, options));
  return formats.get(key);
}

export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return format(Intl.NumberFormat, { maximumFractionDigits: digits }).format(value);
}
// A rate: with decimals where it is small.
export const rate = (value) =>
  number(value, value === null || value >= 100 ? 0 : value >= 10 ? 1 : 2);
export const percent = (value) => (value === null || value === undefined ? "–"
  : format(Intl.NumberFormat, { style: "percent", maximumFractionDigits: 0 }).format(value / 100));

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    ++unit;
  }
  return `${number(value, value >= 100 || unit === 0 ? 0 : value >= 10 ? 1 : 2)} ${UNITS[unit]}`;
}

// A time span in seconds: "8.2 ms", "1.5 s", "3 min", "2.1 h".
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const tr = language === "tr";
  if (seconds < 1) return `${number(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 90) return `${number(seconds, seconds < 10 ? 2 : 1)} ${tr ? "sn" : "s"}`;
  if (seconds < 5400) return `${number(seconds / 60, 1)} ${tr ? "dk" : "min"}`;
  if (seconds < 172800) return `${number(seconds / 3600, 1)} ${tr ? "sa" : "h"}`;
  return `${number(seconds / 86400, 1)} ${tr ? "gün" : "d"}`;
}
export const money = (value) => (value === null || value === undefined ? "–"
  : format(Intl.NumberFormat, { style: "currency", currency: "USD",
    maximumFractionDigits: value < 1 ? 4 : 2 }).format(value));

const date = (options) => (at) =>
  at === null || at === undefined ? "–" : format(Intl.DateTimeFormat, options).format(new Date(at));
export const time = date({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const clock = date({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const moment = date({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  second: "2-digit", hourCycle: "h23" });

export const strategyName = (name) => word(`str_${name}`, name);
