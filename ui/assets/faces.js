export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const frame = parentElement.querySelector(".frame");
  frame.style.width = data.width + "px";
  frame.querySelector("img").src = data.src;
  frame.querySelectorAll("button").forEach((old) => old.remove());
  data.boxes.forEach((box, index) => {
    const button = document.createElement("button");
    button.setAttribute("aria-label", "Face " + (index + 1));
    button.classList.toggle("on", index === data.chosen);
    [button.style.left, button.style.top, button.style.width, button.style.height] = box.map((part) => part * 100 + "%");
    const tag = document.createElement("span");
    tag.textContent = index + 1;
    button.appendChild(tag);
    button.onclick = () => setTriggerValue("picked", index);
    frame.appendChild(button);
  });
}
