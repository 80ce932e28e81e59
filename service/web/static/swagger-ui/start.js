// Ours, beside the vendored files: no inline script, so that the page's policy can forbid them.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
