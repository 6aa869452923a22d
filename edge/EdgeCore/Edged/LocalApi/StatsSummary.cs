using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.LocalApi;

/// <summary>The kubelet's <c>/stats/summary</c> (Kubernetes' stats/v1alpha1 Summary). Pure; a figure that is not known is left out.</summary>
internal static class StatsSummary
{
    /// <param name="onlyCpuAndMemory">Leaves out networks and file systems, as the parameter <c>only_cpu_and_memory</c> wants it.</param>
    public static JsonObject Build(UsageReport report, bool onlyCpuAndMemory)
    {
        var node = new JsonObject { ["nodeName"] = report.Node.Name, ["startTime"] = KubeObject.Time(report.Node.Booted) };
        Set(node, "cpu", Cpu(report.Node.Cpu));
        Set(node, "memory", Memory(report.Node.Memory));
        if (!onlyCpuAndMemory)
        {
            Set(node, "network", Network(report.Time, report.Node.Network, report.Node.DefaultInterface));
            Set(node, "fs", Disk(report.Node.Disk));
            if (Disk(report.Node.Images) is { } images)
                node["runtime"] = new JsonObject { ["imageFs"] = images };
            node["rlimit"] = new JsonObject { ["time"] = KubeObject.Time(report.Time), ["maxpid"] = report.Node.ProcessesMax, ["curproc"] = report.Node.Processes };
        }

        if (report.Node.SwapBytes is { } swap)
        {
            var used = new JsonObject { ["time"] = KubeObject.Time(report.Time) };
            Set(used, "swapAvailableBytes", report.Node.SwapAvailableBytes);
            used["swapUsageBytes"] = swap;
            node["swap"] = used;
        }

        var pods = report.Pods.Select(pod => Pod(pod, report.Time, onlyCpuAndMemory)).ToArray<JsonNode>();
        return new JsonObject { ["node"] = node, ["pods"] = new JsonArray(pods) };
    }

    private static JsonObject Pod(PodUse pod, DateTimeOffset time, bool onlyCpuAndMemory)
    {
        var json = new JsonObject
        {
            ["podRef"] = new JsonObject { ["name"] = pod.Name, ["namespace"] = pod.Namespace, ["uid"] = pod.Uid },
            ["startTime"] = KubeObject.Time(pod.Started),
            ["containers"] = new JsonArray(pod.Containers.Select(container => Container(container, onlyCpuAndMemory)).ToArray<JsonNode>()),
        };
        Set(json, "cpu", Cpu(pod.Cpu));
        Set(json, "memory", Memory(pod.Memory));
        if (onlyCpuAndMemory)
            return json;
        Set(json, "network", Network(time, pod.Network, "eth0"));
        if (pod.Processes is { } processes)
            json["process_stats"] = new JsonObject { ["process_count"] = processes };
        return json;
    }

    private static JsonObject Container(ContainerUse container, bool onlyCpuAndMemory)
    {
        var json = new JsonObject { ["name"] = container.Name, ["startTime"] = KubeObject.Time(container.Started) };
        Set(json, "cpu", Cpu(container.Cpu));
        Set(json, "memory", Memory(container.Memory));
        if (onlyCpuAndMemory)
            return json;
        Set(json, "rootfs", Disk(container.Rootfs));
        Set(json, "logs", Disk(container.Logs));
        return json;
    }

    private static JsonObject? Cpu(CpuUse? cpu)
    {
        if (cpu is null)
            return null;
        var json = new JsonObject { ["time"] = KubeObject.Time(cpu.Time) };
        Set(json, "usageNanoCores", cpu.NanoCores);
        json["usageCoreNanoSeconds"] = cpu.CoreNanoseconds;
        return json;
    }

    private static JsonObject? Memory(MemoryUse? memory)
    {
        if (memory is null)
            return null;
        var json = new JsonObject { ["time"] = KubeObject.Time(memory.Time) };
        Set(json, "availableBytes", memory.Available);
        Set(json, "usageBytes", memory.Usage);
        json["workingSetBytes"] = memory.WorkingSet;
        Set(json, "rssBytes", memory.Rss);
        Set(json, "pageFaults", memory.PageFaults);
        Set(json, "majorPageFaults", memory.MajorPageFaults);
        return json;
    }

    private static JsonObject? Disk(DiskUse? disk)
    {
        if (disk is null)
            return null;
        var json = new JsonObject { ["time"] = KubeObject.Time(disk.Time) };
        Set(json, "availableBytes", disk.Available);
        Set(json, "capacityBytes", disk.Capacity);
        Set(json, "usedBytes", disk.Used);
        Set(json, "inodesFree", disk.InodesFree);
        Set(json, "inodes", disk.Inodes);
        Set(json, "inodesUsed", disk.InodesUsed);
        return json;
    }

    // The figures of the default interface stand for the whole, and all follow in a list.
    private static JsonObject? Network(DateTimeOffset time, IReadOnlyList<InterfaceUse> all, string usual)
    {
        if (all.Count == 0)
            return null;
        var json = new JsonObject { ["time"] = KubeObject.Time(time) };
        if (all.FirstOrDefault(one => one.Name == usual) is { } one)
            Fill(json, one);
        var list = new JsonArray();
        foreach (var each in all)
        {
            var item = new JsonObject();
            Fill(item, each);
            list.Add((JsonNode)item);
        }

        json["interfaces"] = list;
        return json;
    }

    private static void Fill(JsonObject json, InterfaceUse one)
    {
        json["name"] = one.Name;
        json["rxBytes"] = one.RxBytes;
        json["rxErrors"] = one.RxErrors;
        json["txBytes"] = one.TxBytes;
        json["txErrors"] = one.TxErrors;
    }

    private static void Set(JsonObject json, string key, ulong? value)
    {
        if (value is { } number)
            json[key] = number;
    }

    private static void Set(JsonObject json, string key, JsonObject? value)
    {
        if (value is not null)
            json[key] = value;
    }
}
