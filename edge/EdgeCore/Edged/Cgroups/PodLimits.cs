using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;
using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged.Cgroups;

/// <summary>What a pod's cgroup allows all its containers together, with a kubelet's arithmetic. Pure.</summary>
/// <param name="CpuShares">Weight against other pods, 2 to 262144; 1024 for each core that is asked for.</param>
/// <param name="CpuQuotaUs">Microseconds of processor time in each <see cref="CpuPeriodUs"/>; 0 for no limit.</param>
/// <param name="MemoryBytes">0 for no limit.</param>
/// <param name="Pids">Processes and threads; 0 for no limit.</param>
internal sealed record PodLimits(long CpuShares, long CpuQuotaUs, long MemoryBytes, long Pids)
{
    public const long CpuPeriodUs = 100_000;

    /// <summary>Bytes of huge pages by the runtime's name of the page size (<c>2MB</c>).</summary>
    public IReadOnlyDictionary<string, long> HugePages { get; init; } = new Dictionary<string, long>();

    /// <param name="podPidsLimit">The key podPidsLimit; 0 or less for none.</param>
    public static PodLimits Of(PodDescription pod, long podPidsLimit)
    {
        var limits = PodResources.Requests(WithLimitsAsRequests(pod.Json));
        var cpu = pod.QosClass == "BestEffort" ? 0 : PodResources.Requests(pod.Json).GetValueOrDefault("cpu").MilliValue;
        return new PodLimits(
            Shares(cpu),
            Declared(pod, "cpu") ? Quota(limits.GetValueOrDefault("cpu").MilliValue) : 0,
            Declared(pod, "memory") ? limits.GetValueOrDefault("memory").Value : 0,
            Math.Max(0, podPidsLimit))
        {
            HugePages = HugePagesOf(limits),
        };
    }

    /// <summary>Weight for so many thousandths of a core.</summary>
    public static long Shares(long milliCpu) => Math.Clamp(milliCpu * 1024 / 1000, 2, 262_144);

    /// <summary>Quota for a limit of so many thousandths of a core; the kernel takes none below a millisecond.</summary>
    public static long Quota(long milliCpu) => milliCpu <= 0 ? 0 : Math.Max(1000, milliCpu * CpuPeriodUs / 1000);

    /// <summary>The limits of huge pages in a resource list, by the runtime's name of the page size.</summary>
    public static Dictionary<string, long> HugePagesOf(IReadOnlyDictionary<string, Quantity> limits)
        => limits.Where(pair => pair.Key.StartsWith("hugepages-", StringComparison.Ordinal))
            .ToDictionary(pair => PageSize(pair.Key["hugepages-".Length..]), pair => pair.Value.Value, StringComparer.Ordinal);

    /// <summary><c>2Mi</c> as the kernel's files and the OCI specification call it: <c>2MB</c>.</summary>
    public static string PageSize(string size) => size.EndsWith('i') ? size[..^1] + "B" : size;

    // The sum holds only where every container has a limit; one without may use all the rest.
    private static bool Declared(PodDescription pod, string resource)
        => pod.Containers.Concat(pod.InitContainers).All(container => Resources.Milli(container.Json.At("resources", "limits", resource)) > 0);

    /// <summary>What the runtime is told of all containers together, without the overhead, as a kubelet does: for a runtime that sizes a virtual machine before it knows them.</summary>
    public static LinuxContainerResources Sandbox(PodDescription pod)
    {
        var limits = PodResources.OfContainers(WithLimitsAsRequests(pod.Json));
        return Told(PodResources.OfContainers(pod.Json).GetValueOrDefault("cpu"), limits.GetValueOrDefault("cpu"), limits.GetValueOrDefault("memory"));
    }

    /// <summary>What the runtime is told that the pod costs beside its containers; nothing where its RuntimeClass names no overhead.</summary>
    public static LinuxContainerResources Overhead(PodDescription pod)
    {
        var overhead = PodResources.Read(pod.Json, "spec", "overhead");
        var cpu = overhead.GetValueOrDefault("cpu");
        return overhead.Count == 0 ? new LinuxContainerResources() : Told(cpu, cpu, overhead.GetValueOrDefault("memory"));
    }

    private static LinuxContainerResources Told(Quantity cpuRequest, Quantity cpuLimit, Quantity memoryLimit) => new()
    {
        CpuPeriod = CpuPeriodUs,
        CpuQuota = Quota(cpuLimit.MilliValue),
        CpuShares = Shares(cpuRequest.MilliValue),
        MemoryLimitInBytes = memoryLimit.Value,
    };

    // The same sums as of requests, over the limits.
    private static JsonObject WithLimitsAsRequests(JsonObject pod)
    {
        static JsonArray Of(IEnumerable<JsonObject> containers)
        {
            var list = new JsonArray();
            foreach (var container in containers)
            {
                list.Add((JsonNode)new JsonObject
                {
                    ["restartPolicy"] = container["restartPolicy"]?.DeepClone(),
                    ["resources"] = new JsonObject { ["requests"] = container.At("resources", "limits")?.DeepClone() },
                });
            }

            return list;
        }

        return new JsonObject
        {
            ["spec"] = new JsonObject
            {
                ["containers"] = Of(pod.Items("spec", "containers")),
                ["initContainers"] = Of(pod.Items("spec", "initContainers")),
                ["overhead"] = pod.At("spec", "overhead")?.DeepClone(),
            },
        };
    }
}
