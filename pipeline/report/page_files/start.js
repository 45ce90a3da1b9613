// Puts the page to work.

function startNavigation() {
  const links = [...document.querySelectorAll("nav a")];
  const seen = new Map();
  const observer = new IntersectionObserver(
    (entries) => {
      entries.forEach((entry) => seen.set(entry.target.id, entry.isIntersecting));
      const current = links.find((link) => seen.get(link.hash.slice(1)));
      links.forEach((link) => {
        if (link === current) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      });
    },
    { rootMargin: "-80px 0px -55% 0px" },
  );
  links.forEach((link) => {
    const section = document.querySelector(link.hash);
    if (section) observer.observe(section);
  });
}

startTheme();
startNavigation();
startCurves();

const player = byId("traces") ? startPlayer() : null;
const table = startTable((index) => {
  const clip = clipOf(index);
  if (clip && player) player.show(clip);
  else if (player) player.tell(report.names[index], `${report.facts[index]}. This page draws no traces of it.`);
  updateSteps();
});

function updateSteps() {
  if (!table || !player) return;
  byId("previous-clip").disabled = !table.neighbour(-1);
  byId("next-clip").disabled = !table.neighbour(1);
}

if (table) {
  if (player)
    [["previous-clip", -1], ["next-clip", 1]].forEach(([id, step]) => {
      byId(id).addEventListener("click", () => {
        const row = table.neighbour(step);
        if (row) table.choose(row, { scroll: true });
      });
    });
  table.chooseFirst();
}
