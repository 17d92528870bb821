// The theme's tabs, filters and menus are elements that only a mouse presses: makes buttons of them.
"use strict";

const PRESSED = "a[x-on\\:click]:not([href]), span[x-on\\:click], div[x-on\\:click]:not(#changelist-filter-close)";

document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(PRESSED)) {
    element.tabIndex = 0;
    element.setAttribute("role", "button");
  }
});

document.addEventListener("keydown", (event) => {
  if ((event.key === "Enter" || event.key === " ") && event.target.matches(PRESSED)) {
    event.preventDefault();
    event.target.click();
  }
});
