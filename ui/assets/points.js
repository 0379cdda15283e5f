export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const frame = parentElement.querySelector(".frame");
  frame.style.width = data.width + "px";
  frame.querySelector("img").src = data.src;
  frame.querySelectorAll("i").forEach((old) => old.remove());
  data.points.forEach((point, index) => {
    const dot = document.createElement("i");
    const number = document.createElement("b");
    number.textContent = index + 1;
    dot.appendChild(number);
    dot.style.left = point[0] * 100 + "%";
    dot.style.top = point[1] * 100 + "%";
    frame.appendChild(dot);
  });
  frame.onclick = (event) => {
    if (data.points.length >= data.most) return;
    const box = frame.getBoundingClientRect();
    setTriggerValue("point", [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  };
}
