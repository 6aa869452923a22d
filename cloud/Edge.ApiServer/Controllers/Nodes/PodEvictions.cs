using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Nodes;

/// <summary>Decides which pods leave a node with NoExecute taints, and when. Pure: time and objects come in. One pass is <see cref="Begin"/>, then
/// <see cref="Consider"/> for each node.</summary>
/// <remarks>Pods leave lost nodes under two limits of Kubernetes' node lifecycle controller: nodes are emptied one every 10 s (nodeEvictionRate 0.1), and while
/// most of the nodes are lost, as when the cloud's own network is cut, none is (unhealthyZoneThreshold 55 %, more than two nodes). A pass with that many
/// lost stops the clock: what is lost afterwards has its whole tolerationSeconds again. Other than in Kubernetes, one or two lost nodes never
/// count as most, since an edge with one node would then never lose a pod.</remarks>
internal sealed class PodEvictions
{
    /// <summary>Pods and nodes with this label (KubeEdge's) of value <c>autonomy</c>: pods stay on the node however long it is away.</summary>
    public const string AutonomyLabel = "app-offline.kubeedge.io";

    /// <summary>Time between the beginnings of two nodes' emptying.</summary>
    public static readonly TimeSpan NodePause = TimeSpan.FromSeconds(10);

    private const double MostFraction = 0.55;
    private const int MostNodes = 3;

    // What Kubernetes' admission adds to each pod that says nothing about lost nodes.
    private static readonly TimeSpan s_tolerationDefault = TimeSpan.FromSeconds(300);

    private readonly HashSet<string> _emptying = new(StringComparer.Ordinal);
    private DateTimeOffset _nextNode;
    private DateTimeOffset _clockStart;

    /// <summary>Whether pods stay because most of the nodes are lost.</summary>
    public bool Suspended { get; private set; }

    /// <param name="lost">Uids of the nodes that are not ready.</param>
    /// <param name="all">How many nodes there are.</param>
    public void Begin(IReadOnlyCollection<string> lost, int all, DateTimeOffset now)
    {
        _emptying.IntersectWith(lost);
        var most = lost.Count >= MostNodes && lost.Count >= all * MostFraction;
        if (Suspended || most)
            _clockStart = now;
        Suspended = most;
    }

    /// <summary>Adds an <see cref="EvictPod"/> for each pod that is due, and tells through <paramref name="next"/> when another may be.</summary>
    /// <param name="taints">The node's taints as they are to be.</param>
    public void Consider(JsonObject node, JsonArray taints, IEnumerable<JsonObject> pods, DateTimeOffset now, List<NodeAction> actions, ref DateTimeOffset? next)
    {
        var executing = taints.OfType<JsonObject>().Where(taint => taint.Text("effect") == Taint.NoExecute).ToList();
        if (executing.Count == 0)
            return;
        var autonomous = IsAutonomous(node);
        foreach (var pod in pods)
        {
            if (pod.IsDeleting() || Conditions.IsFinished(pod))
                continue;
            var byHand = DateTimeOffset.MaxValue;
            var byLoss = DateTimeOffset.MaxValue;
            foreach (var taint in executing)
            {
                if (!IsOfLoss(taint))
                    byHand = Earlier(byHand, LeavesAt(pod, taint, now));
                else if (!autonomous && !IsAutonomous(pod) && !Suspended)
                    byLoss = Earlier(byLoss, LeavesAt(pod, taint, now));
            }

            if (now >= byHand || (now >= byLoss && MayEmpty(node, now, ref byLoss)))
                actions.Add(new EvictPod(node, pod));
            else if (Earlier(byHand, byLoss) is var due && due < DateTimeOffset.MaxValue && (next is null || due < next))
                next = due;
        }
    }

    private static bool IsAutonomous(JsonObject obj) => obj.Label(AutonomyLabel) == "autonomy";

    private static bool IsOfLoss(JsonObject taint) => taint.Text("key") is Taint.NotReady or Taint.Unreachable;

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    private bool MayEmpty(JsonObject node, DateTimeOffset now, ref DateTimeOffset due)
    {
        if (_emptying.Contains(node.Uid()))
            return true;
        if (now < _nextNode)
        {
            due = _nextNode;
            return false;
        }

        _nextNode = now + NodePause;
        _emptying.Add(node.Uid());
        return true;
    }

    private DateTimeOffset LeavesAt(JsonObject pod, JsonObject taintNode, DateTimeOffset now)
    {
        var taint = Taint.Read(taintNode);
        var since = DateTimeOffset.TryParse(taintNode.Text("timeAdded"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var added) ? added : now;
        var loss = IsOfLoss(taintNode);
        if (loss && since < _clockStart)
            since = _clockStart;
        var tolerations = pod.Items("spec", "tolerations").Where(taint.IsToleratedBy).ToList();
        if (tolerations.Count == 0)
            return loss ? After(since, s_tolerationDefault) : since;

        // The shortest of those that end; no end when none does.
        var seconds = tolerations.Min(toleration => toleration.Number(long.MaxValue, "tolerationSeconds"));
        return seconds > int.MaxValue ? DateTimeOffset.MaxValue : After(since, TimeSpan.FromSeconds(Math.Max(0, seconds)));
    }

    // Whoever sets a taint writes its time, any time.
    private static DateTimeOffset After(DateTimeOffset since, TimeSpan span) => since.UtcDateTime > DateTime.MaxValue - span ? DateTimeOffset.MaxValue : since + span;
}
