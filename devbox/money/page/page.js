"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const money = (value) => "$" + Number(value).toLocaleString("en-US", {
    minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) < 1 ? 4 : 2,
  });
  const charts = [];
  const draw = (id, option) => {
    const place = document.getElementById(id);
    if (!place) return;
    const chart = echarts.init(place, null, { renderer: "svg" });
    chart.setOption({ animation: false, ...option });
    charts.push(chart);
  };
  const stacked = (series, extra) => ({
    color: ["#2f6fde", "#e08a1e", "#2a9d6f", "#b5478b", "#7a5cc7", "#c94f3d", "#3aa6b9",
      "#8a8f3c", "#5b7083", "#d66ba0", "#4d9447", "#a5773f", "#9aa4ae"],
    grid: { left: 64, right: 24, top: 56, bottom: 72 },
    legend: { type: "scroll", top: 0 },
    tooltip: { trigger: "axis", confine: true, valueFormatter: money, order: "valueDesc" },
    dataZoom: [{ type: "slider", bottom: 8, height: 20 }, { type: "inside", zoomLock: true }],
    xAxis: { type: "category", data: data.days },
    yAxis: { type: "value", axisLabel: { formatter: money } },
    series: series.map((each, index) => ({
      type: "bar", stack: "spend", name: each.name, data: each.values,
      ...(index === 0 ? extra : {}),
    })),
  });
  const limit = data.limit && {
    markLine: {
      symbol: "none", silent: true,
      lineStyle: { color: "#c0392b", type: "dashed" },
      label: { formatter: () => data.limit.name, position: "insideEndTop" },
      data: [{ yAxis: data.limit.dollars }],
    },
  };
  draw("time", stacked(data.series, limit || {}));
  const kinds = ["#2a9d6f", "#e08a1e", "#7a5cc7", "#c3cad3"];
  draw("use", { ...stacked(data.use, {}), color: kinds });
  draw("runs", {
    color: ["#2f6fde"],
    grid: { left: 16, right: 32, top: 8, bottom: 24, containLabel: true },
    tooltip: { trigger: "item", confine: true, valueFormatter: money },
    xAxis: { type: "value", axisLabel: { formatter: money } },
    yAxis: {
      type: "category", inverse: true, data: data.runs.map((run) => run.name),
      axisLabel: { width: 260, overflow: "truncate" },
    },
    series: [{ type: "bar", name: "cost", data: data.runs.map((run) => run.dollars) }],
  });
  const fit = () => charts.forEach((chart) => chart.resize());
  window.addEventListener("resize", fit);
  window.matchMedia("print").addEventListener("change", fit);
  window.charts = charts;
})();
