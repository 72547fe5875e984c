"""Paths of common Ed-Fi resources, to be given as ``endpoint=``.

Any other path works as well, extensions included (``"tpdm/candidates"``); slashes around it do not
matter.
"""

from typing import Final

ASSESSMENTS: Final = "ed-fi/assessments"
ASSESSMENT_ITEMS: Final = "ed-fi/assessmentItems"
OBJECTIVE_ASSESSMENTS: Final = "ed-fi/objectiveAssessments"
STUDENT_ASSESSMENTS: Final = "ed-fi/studentAssessments"

STUDENTS: Final = "ed-fi/students"
STUDENT_EDUCATION_ORGANIZATION_ASSOCIATIONS: Final = (
    "ed-fi/studentEducationOrganizationAssociations"
)
STUDENT_SCHOOL_ASSOCIATIONS: Final = "ed-fi/studentSchoolAssociations"
STUDENT_SCHOOL_ATTENDANCE_EVENTS: Final = "ed-fi/studentSchoolAttendanceEvents"
STUDENT_SECTION_ASSOCIATIONS: Final = "ed-fi/studentSectionAssociations"
STUDENT_SECTION_ATTENDANCE_EVENTS: Final = "ed-fi/studentSectionAttendanceEvents"

CONTACTS: Final = "ed-fi/contacts"
STAFF: Final = "ed-fi/staffs"
STAFF_SCHOOL_ASSOCIATIONS: Final = "ed-fi/staffSchoolAssociations"
STAFF_SECTION_ASSOCIATIONS: Final = "ed-fi/staffSectionAssociations"

LOCAL_EDUCATION_AGENCIES: Final = "ed-fi/localEducationAgencies"
SCHOOLS: Final = "ed-fi/schools"

CALENDARS: Final = "ed-fi/calendars"
CALENDAR_DATES: Final = "ed-fi/calendarDates"
COURSES: Final = "ed-fi/courses"
COURSE_OFFERINGS: Final = "ed-fi/courseOfferings"
GRADES: Final = "ed-fi/grades"
GRADING_PERIODS: Final = "ed-fi/gradingPeriods"
SECTIONS: Final = "ed-fi/sections"
SESSIONS: Final = "ed-fi/sessions"

ASSESSMENT_CATEGORY_DESCRIPTORS: Final = "ed-fi/assessmentCategoryDescriptors"
GRADE_LEVEL_DESCRIPTORS: Final = "ed-fi/gradeLevelDescriptors"
PERFORMANCE_LEVEL_DESCRIPTORS: Final = "ed-fi/performanceLevelDescriptors"
RESULT_DATATYPE_TYPE_DESCRIPTORS: Final = "ed-fi/resultDatatypeTypeDescriptors"
