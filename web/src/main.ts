document.querySelector("#app")?.replaceChildren("Dialtone");
