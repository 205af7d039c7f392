"use strict";

// Figures that renew themselves, for whoever asks for it. Without this file the page says the same.
(() => {
    const SECONDS = 5;
    const parts = () => document.querySelectorAll("[data-signal-kit-part]");
    const content = document.querySelector(".signal-kit-signals[data-live]");
    if (content === null || parts().length === 0) {
        return;
    }

    const isBeingRead = (part) =>
        part.contains(document.activeElement) || part.querySelector("details[open]") !== null;

    const renew = async () => {
        const answer = await fetch(location.href, {credentials: "same-origin"});
        if (!answer.ok || answer.redirected) {
            return;
        }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of parts()) {
            const found = page.getElementById(part.id);
            if (found !== null && !isBeingRead(part)) {
                part.replaceWith(found);
            }
        }
    };

    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    label.className = "signal-kit-live";
    label.append(box, ` ${content.dataset.live}`);
    content.querySelector("[data-live-place]").append(label);

    let timer = null;
    box.addEventListener("change", () => {
        clearInterval(timer);
        if (box.checked) {
            renew();
            timer = setInterval(() => document.hidden || renew().catch(() => {}), SECONDS * 1000);
        }
    });
})();
