-- Health of a MailReplay for Argo CD: resource.customizations.health.mailtopic.dev_MailReplay
local found = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.status == "True" then found[condition.type] = condition end
end
if found["Failed"] ~= nil then return {status = "Degraded", message = found["Failed"].message} end
if found["Stalled"] ~= nil then return {status = "Degraded", message = found["Stalled"].message} end
if found["Complete"] ~= nil then return {status = "Healthy", message = found["Complete"].message} end
return {status = "Progressing", message = "dead letters are being replayed"}
