using System.Globalization;
using Edge.Common.Configuration;
using Edge.Kubernetes;

namespace Edge.Core.Configuration;

// The keys of tailoredKubeletConfig that share out the node's resources and keep them free.
public static partial class EdgeCoreConfig
{
    private static readonly string[] s_reservable = ["cpu", "memory", "ephemeral-storage", "pid"];

    private static ResourceOptions ReadResources(ConfigSection kubelet)
    {
        var defaults = new ResourceOptions();
        var options = new ResourceOptions
        {
            SystemReserved = Reserved(kubelet, "systemReserved"),
            KubeReserved = Reserved(kubelet, "kubeReserved"),
            Thresholds = Thresholds(kubelet),
            PressureTransition = Duration(kubelet, "evictionPressureTransitionPeriod", defaults.PressureTransition),
            EvictionPodGraceMax = TimeSpan.FromSeconds(kubelet.Int("evictionMaxPodGracePeriod", 0, 0, 86400)),
            ImageGcHighPercent = kubelet.Int("imageGCHighThresholdPercent", defaults.ImageGcHighPercent, 0, 100),
            ImageGcLowPercent = kubelet.Int("imageGCLowThresholdPercent", defaults.ImageGcLowPercent, 0, 100),
            ImageAgeMin = Duration(kubelet, "imageMinimumGCAge", defaults.ImageAgeMin),
            ImageAgeMax = Duration(kubelet, "imageMaximumGCAge", TimeSpan.Zero),
            LogSizeMax = Bytes(kubelet, "containerLogMaxSize", defaults.LogSizeMax),
            LogFilesMax = kubelet.Int("containerLogMaxFiles", defaults.LogFilesMax, 2, 1000),
            LogPeriod = Duration(kubelet, "containerLogMonitorInterval", defaults.LogPeriod),
        };
        if (options.ImageGcLowPercent > options.ImageGcHighPercent)
            kubelet.Problem("imageGCLowThresholdPercent", $"is {options.ImageGcLowPercent}, must not be above imageGCHighThresholdPercent, which is {options.ImageGcHighPercent}");
        if (options.ImageAgeMax > TimeSpan.Zero && options.ImageAgeMax <= options.ImageAgeMin)
            kubelet.Problem("imageMaximumGCAge", $"is {options.ImageAgeMax}, must be above imageMinimumGCAge, which is {options.ImageAgeMin}, or 0s for no limit");
        return options;
    }

    private static Dictionary<string, Quantity> Reserved(ConfigSection kubelet, string key)
    {
        var reserved = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        foreach (var (resource, text) in kubelet.Map(key))
        {
            if (!s_reservable.Contains(resource, StringComparer.Ordinal))
                kubelet.Problem(key, $"names '{resource}', must name {string.Join(", ", s_reservable)}");
            else if (!Quantity.TryParse(text, out var quantity) || quantity < Quantity.Zero)
                kubelet.Problem(key, $"has '{text}' for {resource}, must be a quantity of at least 0, e.g. 200m or 256Mi");
            else
                reserved[resource] = quantity;
        }

        return reserved;
    }

    // As kubelet: thresholds that are given replace all defaults unless mergeDefaultEvictionSettings says otherwise; 0% and 100% switch one off.
    private static IReadOnlyList<EvictionThreshold> Thresholds(ConfigSection kubelet)
    {
        var merge = kubelet.Bool("mergeDefaultEvictionSettings", false);
        var reclaim = Amounts(kubelet, "evictionMinimumReclaim");
        var hard = Amounts(kubelet, "evictionHard");
        if (!kubelet.Has("evictionHard") || merge)
        {
            foreach (var threshold in EvictionThreshold.Defaults)
                hard.TryAdd(threshold.Signal, threshold.Amount);
        }

        var thresholds = hard.Select(pair => new EvictionThreshold(pair.Key, pair.Value, TimeSpan.Zero, reclaim.GetValueOrDefault(pair.Key))).ToList();
        var soft = Amounts(kubelet, "evictionSoft");
        var graces = kubelet.Map("evictionSoftGracePeriod");
        foreach (var (signal, amount) in soft)
        {
            if (!graces.TryGetValue(signal, out var text))
                kubelet.Problem("evictionSoft", $"has {signal}, for which evictionSoftGracePeriod has no period");
            else if (!TryDuration(text, out var grace) || grace <= TimeSpan.Zero)
                kubelet.Problem("evictionSoftGracePeriod", $"has '{text}' for {signal}, must be a duration above 0s, e.g. 1m30s");
            else
                thresholds.Add(new EvictionThreshold(signal, amount, grace, reclaim.GetValueOrDefault(signal)));
        }

        foreach (var signal in graces.Keys.Where(signal => !soft.ContainsKey(signal)))
            kubelet.Problem("evictionSoftGracePeriod", $"has {signal}, for which evictionSoft has no threshold");
        return [.. thresholds.Where(threshold => threshold.Amount != default && threshold.Amount.Fraction < 1)];
    }

    private static Dictionary<string, EvictionAmount> Amounts(ConfigSection kubelet, string key)
    {
        var amounts = new Dictionary<string, EvictionAmount>(StringComparer.Ordinal);
        foreach (var (signal, text) in kubelet.Map(key))
        {
            if (!EvictionSignals.All.Contains(signal, StringComparer.Ordinal))
                kubelet.Problem(key, $"names '{signal}', must name {string.Join(", ", EvictionSignals.All)}");
            else if (text.EndsWith('%') && double.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var percent) && percent <= 100)
                amounts[signal] = new EvictionAmount(0, percent / 100);
            else if (Quantity.TryParse(text, out var quantity) && quantity >= Quantity.Zero)
                amounts[signal] = new EvictionAmount(quantity.Value, 0);
            else
                kubelet.Problem(key, $"has '{text}' for {signal}, must be a quantity or a percentage, e.g. 100Mi or 10%");
        }

        return amounts;
    }

    private static TimeSpan Duration(ConfigSection section, string key, TimeSpan absent)
    {
        if (section.Text(key, "") is not { Length: > 0 } text)
            return absent;
        if (TryDuration(text, out var duration) && duration <= TimeSpan.FromDays(366))
            return duration;
        section.Problem(key, $"is '{text}', must be a duration of at most a year, e.g. 30s, 2m0s or 24h");
        return absent;
    }

    private static long Bytes(ConfigSection section, string key, long absent)
    {
        if (section.Text(key, "") is not { Length: > 0 } text)
            return absent;
        if (Quantity.TryParse(text, out var quantity) && quantity > Quantity.Zero)
            return quantity.Value;
        section.Problem(key, $"is '{text}', must be a quantity above 0, e.g. 10Mi");
        return absent;
    }
}
