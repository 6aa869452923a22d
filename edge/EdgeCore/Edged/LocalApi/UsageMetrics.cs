using System.Globalization;
using System.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The kubelet's <c>/metrics/resource</c> and <c>/metrics/cadvisor</c>: Prometheus text (exposition format 0.0.4) with its names. Pure.</summary>
internal static class UsageMetrics
{
    /// <summary>What metrics-server reads: CPU and memory of the node, pods and containers.</summary>
    public static string Resource(UsageReport report)
    {
        var text = new PrometheusText();
        var containers = report.Pods.SelectMany(pod => pod.Containers.Select(container => (Labels: Labels(pod, container), Use: container))).ToList();
        text.Family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds");
        foreach (var (labels, use) in containers)
            text.Seconds(labels, use.Cpu?.CoreNanoseconds, use.Cpu?.Time);
        text.Family("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
        foreach (var (labels, use) in containers)
            text.Value(labels, use.Memory?.WorkingSet, use.Memory?.Time);
        text.Family("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds");
        foreach (var (labels, use) in containers)
            text.Number(labels, Unix(use.Started));
        text.Family("container_swap_usage_bytes", "gauge", "Current amount of the container swap usage in bytes");
        foreach (var (labels, use) in containers)
            text.Value(labels, use.SwapBytes, null);
        text.Family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
        text.Seconds([], report.Node.Cpu?.CoreNanoseconds, report.Node.Cpu?.Time);
        text.Family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
        text.Value([], report.Node.Memory?.WorkingSet, report.Node.Memory?.Time);
        text.Family("node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes");
        text.Value([], report.Node.SwapBytes, null);
        text.Family("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds");
        foreach (var pod in report.Pods)
            text.Seconds(Labels(pod), pod.Cpu?.CoreNanoseconds, pod.Cpu?.Time);
        text.Family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
        foreach (var pod in report.Pods)
            text.Value(Labels(pod), pod.Memory?.WorkingSet, pod.Memory?.Time);
        foreach (var name in (string[])["resource_scrape_error", "scrape_error"])
        {
            text.Family(name, "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
            text.Value([], report.Error.Length > 0 ? 1UL : 0UL, null);
        }

        return text.ToString();
    }

    /// <summary>The counters that dashboards made for cAdvisor read; a pod's own lines have an empty container.</summary>
    public static string Cadvisor(UsageReport report)
    {
        var text = new PrometheusText();
        var rows = Rows(report);
        void Each(string name, string type, string help, Func<Row, ulong?> value, bool seconds = false)
        {
            text.Family(name, type, help);
            foreach (var row in rows)
            {
                if (seconds)
                    text.Seconds([.. row.Labels, ("cpu", "total")], value(row), row.Time);
                else
                    text.Value(row.Labels, value(row), row.Time);
            }
        }

        Each("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", row => row.Cpu?.CoreNanoseconds, seconds: true);
        Each("container_memory_usage_bytes", "gauge", "Current memory usage in bytes, including all memory regardless of when it was accessed", row => row.Memory?.Usage);
        Each("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", row => row.Memory?.WorkingSet);
        Each("container_memory_rss", "gauge", "Size of RSS in bytes.", row => row.Memory?.Rss);
        Each("container_memory_swap", "gauge", "Container swap usage in bytes.", row => row.Swap);
        Each("container_processes", "gauge", "Number of processes running inside the container.", row => row.Processes);
        Each("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.", row => (ulong)Math.Max(0, row.Started.ToUnixTimeSeconds()));
        Each("container_last_seen", "gauge", "Last time a container was seen by the exporter", _ => (ulong)report.Time.ToUnixTimeSeconds());
        Each("container_fs_usage_bytes", "gauge", "Number of bytes that are consumed by the container on this filesystem.", row => row.Disk?.Used);
        Each("container_fs_limit_bytes", "gauge", "Number of bytes that can be consumed by the container on this filesystem.", row => row.Disk?.Capacity);
        Each("container_fs_inodes_total", "gauge", "Number of Inodes", row => row.Disk?.Inodes);
        Each("container_fs_inodes_free", "gauge", "Number of available Inodes", row => row.Disk?.InodesFree);
        foreach (var (direction, word) in (ReadOnlySpan<(string, string)>)[("receive", "received"), ("transmit", "transmitted")])
        {
            var down = direction == "receive";
            Interfaces(text, report, $"container_network_{direction}_bytes_total", $"Cumulative count of bytes {word}", one => down ? one.RxBytes : one.TxBytes);
            Interfaces(text, report, $"container_network_{direction}_packets_total", $"Cumulative count of packets {word}", one => down ? one.RxPackets : one.TxPackets);
            Interfaces(text, report, $"container_network_{direction}_errors_total", $"Cumulative count of errors encountered while {word}", one => down ? one.RxErrors : one.TxErrors);
            Interfaces(text, report, $"container_network_{direction}_packets_dropped_total", $"Cumulative count of packets dropped while {word}", one => down ? one.RxDropped : one.TxDropped);
        }

        text.Family("container_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
        text.Value([], report.Error.Length > 0 ? 1UL : 0UL, null);
        text.Family("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
        text.Value([], (ulong)report.Node.Cpus, null);
        text.Family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
        text.Value([], report.Node.MemoryBytes, null);
        return text.ToString();
    }

    private static List<Row> Rows(UsageReport report)
    {
        var rows = new List<Row>
        {
            new(Labels("/", "", "", "", "", ""), report.Time, report.Node.Booted, report.Node.Cpu, report.Node.Memory, report.Node.SwapBytes, (ulong)report.Node.Processes, report.Node.Disk),
        };
        foreach (var pod in report.Pods)
        {
            rows.Add(new Row(Labels(pod.Cgroup, "", "", "", pod.Namespace, pod.Name), report.Time, pod.Started, pod.Cpu, pod.Memory, null, pod.Processes, null));
            foreach (var one in pod.Containers)
                rows.Add(new Row(Labels(CriConfigs.ContainerCgroup(pod.Cgroup, one.Id), one.Id, one.Name, one.Image, pod.Namespace, pod.Name), report.Time, one.Started, one.Cpu, one.Memory, one.SwapBytes, one.Processes, one.Rootfs));
        }

        return rows;
    }

    private static void Interfaces(PrometheusText text, UsageReport report, string name, string help, Func<InterfaceUse, ulong> value)
    {
        text.Family(name, "counter", help);
        foreach (var one in report.Node.Network)
            text.Value([.. Labels("/", "", "", "", "", ""), ("interface", one.Name)], value(one), report.Time);
        foreach (var pod in report.Pods)
        {
            foreach (var one in pod.Network)
                text.Value([.. Labels(pod.Cgroup, pod.SandboxId, "", "", pod.Namespace, pod.Name), ("interface", one.Name)], value(one), report.Time);
        }
    }

    private static (string, string)[] Labels(string id, string name, string container, string image, string @namespace, string pod)
        => [("container", container), ("id", id), ("image", image), ("name", name), ("namespace", @namespace), ("pod", pod)];

    private static (string, string)[] Labels(PodUse pod) => [("namespace", pod.Namespace), ("pod", pod.Name)];

    private static (string, string)[] Labels(PodUse pod, ContainerUse container) => [("container", container.Name), ("namespace", pod.Namespace), ("pod", pod.Name)];

    private static double Unix(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).TotalSeconds;

    private sealed record Row(
        (string, string)[] Labels, DateTimeOffset Time, DateTimeOffset Started, CpuUse? Cpu, MemoryUse? Memory, ulong? Swap, ulong? Processes, DiskUse? Disk);
}

/// <summary>Writes Prometheus text. A value that is null is left out.</summary>
internal sealed class PrometheusText
{
    private readonly StringBuilder _text = new();
    private string _name = "";

    public void Family(string name, string type, string help)
    {
        _name = name;
        _text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
    }

    public void Value((string Name, string Value)[] labels, ulong? value, DateTimeOffset? time)
    {
        if (value is { } number)
            Line(labels, number.ToString(CultureInfo.InvariantCulture), time);
    }

    public void Seconds((string Name, string Value)[] labels, ulong? nanoseconds, DateTimeOffset? time)
    {
        if (nanoseconds is { } number)
            Line(labels, (number / 1e9).ToString("0.#########", CultureInfo.InvariantCulture), time);
    }

    public void Number((string Name, string Value)[] labels, double value) => Line(labels, value.ToString("0.###", CultureInfo.InvariantCulture), null);

    public override string ToString() => _text.ToString();

    private void Line((string Name, string Value)[] labels, string value, DateTimeOffset? time)
    {
        _text.Append(_name);
        if (labels.Length > 0)
            _text.Append('{').AppendJoin(',', labels.Select(label => $"{label.Name}=\"{Escape(label.Value)}\"")).Append('}');
        _text.Append(' ').Append(value);
        if (time is { } at)
            _text.Append(CultureInfo.InvariantCulture, $" {at.ToUnixTimeMilliseconds()}");
        _text.Append('\n');
    }

    private static string Escape(string text)
        => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
}
