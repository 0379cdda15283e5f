export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const frame = parentElement.querySelector(".frame");
  frame.style.width = data.width + "px";
  const picture = frame.querySelector("img");
  picture.src = data.src;
  picture.alt = data.alt;
  frame.querySelectorAll("button").forEach((old) => old.remove());
  data.parts.forEach((part, index) => {
    const button = document.createElement("button");
    button.setAttribute("aria-label", part.title);
    button.setAttribute("aria-pressed", part.on);
    button.title = part.title;
    button.classList.toggle("on", part.on);
    button.classList.toggle("changed", part.changed);
    [button.style.left, button.style.top, button.style.width, button.style.height] = part.box.map((v) => v * 100 + "%");
    button.onclick = () => setTriggerValue("picked", index);
    frame.appendChild(button);
  });
}
